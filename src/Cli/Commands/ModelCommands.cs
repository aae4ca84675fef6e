using System.CommandLine;
using ArmoFlow.Cli.Runs;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.Cli.Commands;

internal static class ModelCommands
{
    private const int GoldenRows = 5;

    public static Command Models() => new("models", "Exports trained models.") { Export() };

    private static Command Export()
    {
        Option<Guid> run = new("--run") { Description = "The run that trained it.", Required = true };
        Option<string> output = new("--out", "-o") { Description = "A new folder.", Required = true };
        Option<string> workspace = Options.Workspace();
        Option<bool> json = Options.Json();
        Command command = new("export", "Writes a trained model in the released ArmoRM's layout, with golden rows that loading checks.") { run, output, workspace, json };
        command.SetAction(async (parsed, cancel) =>
        {
            await using WorkspaceClient client = new(parsed.GetRequiredValue(workspace));
            RunModel model = await RunModel.Load(client, parsed.GetRequiredValue(run), cancel);
            IReadOnlyList<Conversation> golden = await model.SomeConversations(GoldenRows);
            IReadOnlyList<Explanation> scores;
            using (ConversationScorer scorer = model.Scorer()) scores = scorer.Score(golden, cancel: cancel);
            ModelCard card = new()
            {
                Objectives = model.Model.Objectives,
                Template = ChatTemplate.Name,
                Dtype = model.Features.Dtype,
                MaxTokens = model.Features.MaxTokens,
                GoldenRows = [.. golden.Zip(scores, (c, s) => new GoldenRow(c.Messages, s.Score))],
            };
            string folder = parsed.GetRequiredValue(output);
            ReleasedLayout.Export(model.Backbone, model.Model, card, folder);
            if (parsed.GetValue(json)) Terminal.PrintJson(new { run = model.Run.RunId, path = Path.GetFullPath(folder), objectives = model.Model.Objectives, goldenRows = golden.Count });
            else Console.Error.WriteLine($"wrote {folder} with {golden.Count} golden rows; score with: armoflow score --path {folder} --prompt … --response …");
            return ExitCodes.Done;
        });
        return command;
    }
}
