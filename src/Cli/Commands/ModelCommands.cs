using System.CommandLine;
using ArmoFlow.Cli.Workspaces;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.Cli.Commands;

internal static class ModelCommands
{
    public static Command Models() => new("models", "Names, versions and aliases of models; promotes, rolls back and exports them.")
    {
        RegistryCommands.List(), RegistryCommands.Show(), RegistryCommands.Promote(), RegistryCommands.RollBack(), RegistryCommands.At(),
            RegistryCommands.Describe(), RegistryCommands.Backbone(), ModelPolicyCommands.Policy(), Export(),
    };

    private static Command Export()
    {
        Option<Guid?> run = new("--run") { Description = "The run that trained it." };
        Option<string?> registered = new("--model") { Description = "A registered model, NAME[@ALIAS or @VERSION]." };
        Option<string> output = new("--out", "-o") { Description = "A new folder.", Required = true };
        Option<string?> backbone = new("--backbone")
        {
            Description = "The backbone's folder on this machine; where the run found it if left out."
        };
        Command command = new("export", "Writes a trained model in the released ArmoRM's layout, with golden rows that loading checks.")
        {
            run,
            registered,
            output,
            backbone,
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            Guid id = await RunModel.RunOf(parsed.GetValue(run), parsed.GetValue(registered), client, cancel);
            using RunModel model = await RunModel.Load(client, id, parsed.GetValue(backbone), cancel);
            ModelCard card = Card(model, cancel);
            string folder = parsed.GetRequiredValue(output);
            if (card.NoSignal is not null) Console.Error.WriteLine(card.NoSignal);
            ReleasedLayout.Export(model.Stored.Backbone, model.Stored.Model, card, folder);
            int goldenRows = card.GoldenRows.Count;
            if (parsed.WantsJson())
            {
                string path = Path.GetFullPath(folder);
                Terminal.PrintJson(new { run = model.Run.RunId, path, objectives = card.Objectives, goldenRows });
            }
            else
            {
                Console.Error.WriteLine($"wrote {folder} with {goldenRows} golden rows; score with: armoflow score --path {folder} "
                    + "--prompt … --response …");
            }
            return ExitCodes.Done;
        });
    }

    /// <summary>What loading the exported model checks, and needs to know.</summary>
    private static ModelCard Card(RunModel model, CancellationToken cancel)
    {
        using ConversationScorer scorer = model.Scorer();
        IReadOnlyList<Conversation> golden = GoldenTexts.Within(scorer.Tokenizer, model.Stored.Features.MaxTokens);
        IReadOnlyList<Explanation> scores = scorer.Score(golden, cancel: cancel);
        return new ModelCard
        {
            Objectives = model.Stored.Model.Objectives,
            Template = scorer.Tokenizer.Template.Name,
            Dtype = model.Stored.Features.Dtype,
            MaxTokens = model.Stored.Features.MaxTokens,
            AllowsSpecials = model.Stored.Features.AllowsSpecials,
            TemplateDate = model.Stored.Features.TemplateDate,
            PoolsAsClassifier = model.Stored.Features.PoolsAsClassifier,
            NoSignal = RunSignal.Missing(model.Run.Metrics),
            GoldenRows = [.. golden.Zip(scores, (c, s) => new GoldenRow(c.Messages, s.Score))],
        };
    }
}
