using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Cli.Workspaces;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Text;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

internal static class ScoreCommands
{
    private const int BarWidth = 12, ItemsOfARequest = 256;

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
        Command command = new("score", "Scores responses and explains each score by its objectives.")
        {
            run, model, path, input, prompt, response, steer,
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            IReadOnlyList<Conversation> conversations =
                await Conversations(parsed.GetValue(input), parsed.GetValue(prompt), parsed.GetValue(response), cancel);
            RequireOne(parsed.GetValue(run), parsed.GetValue(model), parsed.GetValue(path));
            ScoreRequest request = new()
            {
                Run = parsed.GetValue(run),
                Model = parsed.GetValue(model),
                Items = [.. conversations.Select(Input)],
                Steer = parsed.GetValue(steer) ?? [],
            };
            (IReadOnlyList<ScoreOutput> scores, string? noSignal) = parsed.GetValue(path) is { } folder
                ? OfFolder(parsed, folder, conversations, request.Steer, cancel)
                : await Ask(parsed, request, cancel);
            noSignal ??= scores.All(s => Math.Abs(s.Score) <= s.Rounding) ? NothingFound(scores.Count) : null;
            Report(scores, noSignal, parsed.WantsJson());
            return ExitCodes.Done;
        });
    }

    private static void RequireOne(params object?[] models)
    {
        if (models.Count(m => m is not null) != 1)
            throw new UsageException("score: expected one of --run ID, --model NAME[@ALIAS] and --path DIR.");
    }

    /// <summary>A conversation as the API takes it.</summary>
    public static ScoreInput Input(Conversation conversation) =>
        new([.. conversation.Messages.Select(m => new ChatTurn(m.Role, m.Content))]);

    private static async Task<(IReadOnlyList<ScoreOutput> Scores, string? NoSignal)> Ask(ParseResult parsed, ScoreRequest request,
        CancellationToken cancel)
    {
        await using IArmoFlowClient client = await parsed.OpenClient();
        bool isServer = parsed.ServerAddress() is not null; // a workspace loads the model for each request
        List<ScoreOutput> scores = [];
        string? noSignal = null;
        foreach (ScoreInput[] part in isServer ? request.Items.Chunk(ItemsOfARequest) : [[.. request.Items]])
        {
            ScoreAnswer answer = await client.Score(request with { Items = part }, cancel);
            scores.AddRange(answer.Scores);
            noSignal = answer.NoSignal;
        }
        return (scores, noSignal);
    }

    /// <summary>Scores with an exported model, which no server has.</summary>
    private static (IReadOnlyList<ScoreOutput> Scores, string? NoSignal) OfFolder(ParseResult parsed, string folder,
        IReadOnlyList<Conversation> conversations, IReadOnlyList<string> steer, CancellationToken cancel)
    {
        if (parsed.Names(ClientOptions.Server))
            throw new UsageException("score: --path scores on this machine, with the model in that folder. Leave --server out.");
        using ConversationScorer scorer = ReleasedLayout.Import(folder);
        Steering? steering = Steering.Parse(steer, scorer.Model.Objectives);
        return ([.. scorer.Score(conversations, steering, cancel).Select(WorkspaceClient.Output)], ReleasedLayout.CardOf(folder)?.NoSignal);
    }

    private static void Report(IReadOnlyList<ScoreOutput> scores, string? noSignal, bool asJson)
    {
        // Where stdout holds scores for another program, and nothing else, the word is on stderr.
        IAnsiConsole told = asJson || scores.Count > 1 ? Terminal.Error : Terminal.Out;
        if (noSignal is not null) told.MarkupLine($"[red]{Markup.Escape(noSignal)}[/]");
        if (asJson) Terminal.PrintJson(new { scores = scores.Select(Shown), noSignal });
        else if (scores.Count == 1) Print(scores[0]);
        else foreach (ScoreOutput score in scores) Console.Out.WriteLine(score.Score.ToString("r", CultureInfo.InvariantCulture));
    }

    /// <summary>As --json shows a score: with the size of what it is made of, in the score's own unit.</summary>
    private static object Shown(ScoreOutput score) =>
        new { score.Score, score.Objectives, magnitude = score.Rounding / ScoreDifference.Tolerance };

    /// <summary>One score and its parts, as the paper's figure 1 shows them.</summary>
    public static void Print(ScoreOutput score)
    {
        Table table = RunTables.New("objective", "reward", "debiased", "coefficient", "contribution", "");
        double largest = score.Objectives!.Max(o => Math.Abs(o.Contribution));
        foreach (ScoredObjective o in score.Objectives!.OrderByDescending(o => o.Coefficient))
        {
            table.AddRow(Markup.Escape(o.Objective), F(o.Reward, "f3"), F(o.DebiasedReward, "f3"), F(o.Coefficient, "f3"),
                F(o.Contribution, "f3"), Bar(o.Contribution, largest));
        }
        table.AddRow("[bold]score[/]", "", "", F(score.Objectives!.Sum(o => o.Coefficient), "f3"),
            $"[bold]{F(score.Score, "f3")}[/]", "");
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
