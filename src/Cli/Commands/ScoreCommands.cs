using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Text;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

internal static class ScoreCommands
{
    private const int BarWidth = 12;

    public static Command Score()
    {
        Option<Guid?> run = new("--run") { Description = "The run that trained the model." };
        Option<string?> model = new("--model")
        {
            Description = "A registered model, NAME[@ALIAS or @VERSION]; NAME alone is its champion, else its newest version."
        };
        Option<string?> path = new("--path") { Description = "An exported model's folder." };
        Option<string?> input = new("--input") { Description = "JSONL of {messages} or {prompt, response}." };
        Option<string?> prompt = new("--prompt") { Description = "A user's prompt." },
            response = new("--response") { Description = "The response to score." };
        Option<string[]> steer = new("--steer")
        {
            Description = "OBJ=W fixes a coefficient, OBJ=*F scales it; the others are rescaled.",
            AllowMultipleArgumentsPerToken = true
        };
        Option<string> workspace = Options.Workspace();
        Option<bool> json = Options.Json();
        Command command = new("score", "Scores responses and explains each score by its objectives.")
        {
            run,
            model,
            path,
            input,
            prompt,
            response,
            steer,
            workspace,
            json
        };
        command.SetAction(async (parsed, cancel) =>
        {
            IReadOnlyList<Conversation> conversations =
                await Conversations(parsed.GetValue(input), parsed.GetValue(prompt), parsed.GetValue(response), cancel);
            (ConversationScorer opened, string? noSignal) = await Open(parsed.GetValue(run), parsed.GetValue(model), parsed.GetValue(path),
                parsed.GetRequiredValue(workspace), cancel);
            using ConversationScorer scorer = opened;
            Steering? steering = Steering.Parse(parsed.GetValue(steer) ?? [], scorer.Model.Objectives);
            IReadOnlyList<Explanation> scores = scorer.Score(conversations, steering, cancel: cancel);
            noSignal ??= scores.All(s => s.Scored.IsNothing) ? NothingFound(scores.Count) : null;
            // Where stdout holds scores for another program, and nothing else, the word is on stderr.
            IAnsiConsole told = parsed.GetValue(json) || scores.Count > 1 ? Terminal.Error : Terminal.Out;
            if (noSignal is not null) told.MarkupLine($"[red]{Markup.Escape(noSignal)}[/]");
            if (parsed.GetValue(json)) Terminal.PrintJson(new { scores, noSignal });
            else if (scores.Count == 1) Print(scores[0]);
            else foreach (Explanation score in scores) Console.Out.WriteLine(score.Score.ToString("r", CultureInfo.InvariantCulture));
            return ExitCodes.Done;
        });
        return command;
    }

    /// <summary>One score and its parts, as the paper's figure 1 shows them.</summary>
    public static void Print(Explanation explanation)
    {
        Table table = RunTables.New("objective", "reward", "debiased", "coefficient", "contribution", "");
        double largest = explanation.Objectives.Max(o => Math.Abs(o.Contribution));
        foreach (ObjectivePart o in explanation.Objectives.OrderByDescending(o => o.Coefficient))
        {
            table.AddRow(Markup.Escape(o.Objective), F(o.Reward, "f3"), F(o.DebiasedReward, "f3"), F(o.Coefficient, "f3"),
                F(o.Contribution, "f3"), Bar(o.Contribution, largest));
        }
        table.AddRow("[bold]score[/]", "", "", F(explanation.Objectives.Sum(o => o.Coefficient), "f3"),
            $"[bold]{F(explanation.Score, "f3")}[/]", "");
        Terminal.Out.Write(table);
    }

    /// <summary>A bar stands for what the column beside it shows: what reads as 0.000 has none.</summary>
    private static string Bar(double contribution, double largest)
    {
        double size = Math.Abs(contribution);
        if (Math.Round(size, 3) == 0) return "";
        string bar = new(contribution < 0 ? '░' : '█', (int)Math.Round(BarWidth * size / largest)); // told apart without colours too
        return $"[{(contribution < 0 ? "red" : "green")}]{bar}[/]";
    }

    private static string NothingFound(int scores)
    {
        string found = scores == 1 ? "the score cannot be told from 0: it says nothing"
            : $"none of the {scores:N0} scores can be told from 0: they say nothing";
        return $"{found}. Look at the run that trained the model (armoflow runs show).";
    }

    private static async Task<(ConversationScorer Scorer, string? NoSignal)> Open(Guid? run, string? model, string? path, string workspace,
        CancellationToken cancel)
    {
        if (new object?[] { run, model, path }.Count(o => o is not null) != 1)
            throw new UsageException("score: expected one of --run ID, --model NAME[@ALIAS] and --path DIR.");
        if (path is not null) return (ReleasedLayout.Import(path), ReleasedLayout.CardOf(path)?.NoSignal);
        await using WorkspaceClient client = await WorkspaceClient.Open(workspace);
        RunModel loaded = await RunModel.Load(client, await RunModel.RunOf(run, model, workspace, cancel), cancel);
        return (loaded.Scorer(), RunSignal.Missing(loaded.Run.Metrics));
    }

    private static async Task<IReadOnlyList<Conversation>> Conversations(string? input, string? prompt, string? response,
        CancellationToken cancel)
    {
        if (input is null)
        {
            return prompt is not null && response is not null
                ? [Conversation.Create(prompt, response, "--response")]
                : throw new UsageException("score: expected --input FILE.jsonl, or --prompt and --response.");
        }
        List<Conversation> conversations = [];
        await foreach (SourceRow row in RowReader.Read(input, input, cancel))
            conversations.Add(row.Response());
        return conversations.Count > 0
            ? conversations
            : throw new InvalidInputException(input, "no row", "at least one conversation", "Check the file.");
    }

    private static string F(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
