using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Cli.Workspaces;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Runs;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

internal static class RunCommands
{
    private static readonly TimeSpan JudgementWait = TimeSpan.FromMinutes(5), JudgementPause = TimeSpan.FromMilliseconds(500);

    public static Command Run()
    {
        Argument<string> spec = new("spec") { Description = "The run's spec (YAML), or its folder." };
        Option<bool> gates = new("--fail-below-gates")
        {
            Description = "Exit code 1 where the gates of the spec or of the model's policy do not hold; waits until that is known."
        };
        Command command = new("run", "Runs a spec to its end; a run of the same spec that was interrupted is gone on with.")
        {
            spec, gates,
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            SpecFile file = await SpecFile.Read(parsed.GetRequiredValue(spec), cancel);
            RunDocument run = parsed.ServerAddress() is { } url
                ? await OnServer(url, file, cancel)
                : await EmbeddedRun.ToEnd(file.Spec, parsed.WorkspaceFolder(), cancel);
            if (!parsed.GetValue(gates) || run.Status != RunStatus.Completed) return Report(run, parsed.WantsJson());
            await using IArmoFlowClient client = await parsed.OpenClient();
            RunGates verdicts = await Verdicts(client, run.RunId, cancel);
            run = await client.FindRun(run.RunId, cancel); // with what was found
            int code = Report(run, parsed.WantsJson());
            return code == ExitCodes.Done ? ReportGates(verdicts) : code;
        });
    }

    /// <summary>What the gates say of a run that has ended, as soon as that is known.</summary>
    private static async Task<RunGates> Verdicts(IArmoFlowClient client, Guid run, CancellationToken cancel)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(JudgementWait);
        while (true)
        {
            RunGates gates = await client.Gates(run, cancel);
            if (gates.IsJudged) return gates;
            try { await Task.Delay(JudgementPause, limit.Token); }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
            {
                throw new ServerUnavailableException($"run {run} is completed, and nobody has held it against its gates within "
                    + $"{JudgementWait.TotalMinutes:0} minutes. See the orchestrator's log, and: armoflow runs show {run}.");
            }
        }
    }

    private static int ReportGates(RunGates gates)
    {
        if (gates.Verdicts.Count == 0 && gates.Holds == true)
        {
            throw new UsageException("--fail-below-gates: there are no gates. Add 'promotion' to the spec, or set a policy of the model: "
                + "armoflow models policy set.");
        }
        foreach (GateVerdict v in gates.Verdicts) Console.Error.WriteLine($"{(v.Holds ? "✓" : "✗")} {v.Detail}");
        if (gates.Holds == true) return ExitCodes.Done;
        Console.Error.WriteLine($"armoflow: {gates.Verdicts.Count(v => !v.Holds)} of {gates.Verdicts.Count} gates do not hold.");
        return ExitCodes.Failed;
    }

    private static async Task<RunDocument> OnServer(string url, SpecFile file, CancellationToken cancel)
    {
        await using ArmoFlowClient client = ClientOptions.Connect(url);
        Guid id = await client.Submit(file.Text, file.Folder, cancel);
        Console.Error.WriteLine($"run {id}");
        return await RunView.Follow(client.Watch(id, cancel));
    }

    /// <summary>Prints how a run ended and returns the exit code.</summary>
    public static int Report(RunDocument run, bool json)
    {
        if (json) Terminal.PrintJson(run);
        if (run.Error is { } error) Console.Error.WriteLine($"armoflow: {error}");
        else if (run.Status == RunStatus.Completed)
        {
            if (!json) RunTables.Results(run);
            else if (RunSignal.Missing(run.Metrics) is { } missing) Console.Error.WriteLine($"armoflow: {missing}");
        }
        if (run.Status == RunStatus.Paused) Console.Error.WriteLine($"paused; go on with: armoflow runs resume {run.RunId}");
        if (run.Status == RunStatus.Cancelled) Console.Error.WriteLine($"cancelled; go on with: armoflow runs retry {run.RunId}");
        if (run.Status == RunStatus.Interrupted)
        {
            Console.Error.WriteLine(RunTables.Interrupted(run));
            return ExitCodes.Failed;
        }
        if (run.Status is not (RunStatus.Failed or RunStatus.Cancelled)) return ExitCodes.Done;
        return run.BadInput ? ExitCodes.BadInput : ExitCodes.Failed;
    }

    public static Command Runs() => new("runs", "Lists, shows, watches, stops, goes on with and compares runs.")
    {
        List(),
        Show(),
        Watch(),
        Control(RunAction.Cancel, "Cancels a run; its work stops within a second."),
        Control(RunAction.Pause, "Pauses a run, to go on later."),
        Control(RunAction.Resume, "Goes on with a paused or interrupted run."),
        Control(RunAction.Retry, "Goes on with a failed or cancelled run from the step that failed."),
        Compare(),
        ReproduceCommand.Reproduce(),
        LogCommands.Logs(),
        FaultCommands.Faults(),
        FaultCommands.Workers(),
    };

    private static Command List()
    {
        Option<string?> status = new("--status") { Description = "Only runs in this state." },
            name = new("--name") { Description = "Only runs of this name." };
        Option<string?> tag = new("--tag") { Description = "Only runs with this tag." },
            q = new("--query", "-q") { Description = "Only runs whose name, id or error holds this text." };
        Option<string?> where = new("--where")
        {
            Description =
            "Such as: tag = 'nightly' AND submitted > '2026-11-01' AND NOT status IN ('Failed'). Fields: ended, error, heldout, id, "
                + "name, score, spec, status, submitted, tag, trigger."
        };
        Option<string?> cursor = new("--cursor") { Description = "Where the page before ended." };
        Option<int> limit = Options.Limit(20);
        Command command = new("list", "Lists runs, newest first.") { status, name, tag, q, where, cursor, limit };
        return command.WithClient(async (parsed, cancel) =>
        {
            RunStatus? wanted = RunQueries.StatusOf(parsed.GetValue(status)); // a misspelt one is named before anything is opened
            await using IArmoFlowClient client = await parsed.OpenClient();
            RunPage page = await client.ListRuns(new RunFilter
            {
                Status = wanted,
                Name = parsed.GetValue(name),
                Tag = parsed.GetValue(tag),
                Q = parsed.GetValue(q),
                Where = parsed.GetValue(where),
                Cursor = parsed.GetValue(cursor),
                Limit = parsed.GetValue(limit)
            }, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(page);
            else
            {
                RunTables.List(page.Runs);
                if (page.Cursor is { } next) Console.Error.WriteLine($"older ones: --cursor {next}");
            }
            return ExitCodes.Done;
        });
    }

    private static Command Show()
    {
        Argument<Guid> id = Options.Run();
        Command command = new("show", "Shows a run: its steps, artifacts and figures.") { id };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            RunDocument run = await client.FindRun(parsed.GetRequiredValue(id), cancel);
            Terminal.WarnOf([run.Disagrees]);
            if (parsed.WantsJson()) Terminal.PrintJson(run);
            else RunTables.Show(run);
            return ExitCodes.Done;
        });
    }

    private static Command Watch()
    {
        Argument<Guid> id = Options.Run();
        const string Description =
            "Follows a run that another process works on, until it ends; exit code 1 where it failed, was cancelled, or no process works "
                + "on it.";
        Command command = new("watch", Description) { id };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            await client.FindRun(parsed.GetRequiredValue(id), cancel);
            return Report(await RunView.Follow(client.Watch(parsed.GetRequiredValue(id), cancel)), parsed.WantsJson());
        });
    }

    private static Command Control(RunAction action, string description)
    {
        Argument<Guid> id = Options.Run();
        Command command = new(action.Text(), description) { id };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            RunDocument run = await client.Control(parsed.GetRequiredValue(id), action, cancel);
            if (run.Pending is not null) return ReportPending(run, parsed.WantsJson());
            if (action is RunAction.Resume or RunAction.Retry && run.HasEnded) return Report(run, parsed.WantsJson());
            if (parsed.WantsJson()) Terminal.PrintJson(run);
            else Console.Error.WriteLine($"run {run.RunId}: {run.Status}");
            return ExitCodes.Done;
        });
    }

    private static int ReportPending(RunDocument run, bool json)
    {
        if (json) Terminal.PrintJson(run);
        Console.Error.WriteLine($"armoflow: run {run.RunId}: asked to {run.Pending?.Text()}, which has not come about yet; it is "
            + $"{run.Status}. See: armoflow runs show {run.RunId}.");
        return ExitCodes.Failed;
    }

    private static Command Compare()
    {
        Argument<Guid> first = Options.Run("first"), second = Options.Run("second");
        Command command = new("compare", "Compares two runs: what differs in their specs and in their figures.") { first, second };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            Guid a = parsed.GetRequiredValue(first), b = parsed.GetRequiredValue(second);
            IReadOnlyList<Difference> spec = Differences(await SpecOf(a), await SpecOf(b)),
                figures = [.. Differences(await FiguresOf(a), await FiguresOf(b))
                    .Where(d => !d.Key.Contains("lossCurve", StringComparison.Ordinal))];
            if (parsed.WantsJson()) Terminal.PrintJson(new { first = a, second = b, spec, metrics = figures });
            else RunTables.Compare(spec, figures);
            return ExitCodes.Done;

            async Task<SortedDictionary<string, string>> SpecOf(Guid run) =>
                Flat(JsonSerializer.SerializeToNode(await client.FindSpec(run, withoutForgotten: false, cancel), Terminal.Json));

            async Task<SortedDictionary<string, string>> FiguresOf(Guid run) => Flat((await client.FindRun(run, cancel)).Metrics);
        });
    }

    private static IReadOnlyList<Difference> Differences(SortedDictionary<string, string> a, SortedDictionary<string, string> b) =>
        [.. a.Keys.Union(b.Keys)
            .Order(StringComparer.Ordinal)
            .Select(k => new Difference(k, a.GetValueOrDefault(k), b.GetValueOrDefault(k)))
            .Where(d => d.First != d.Second)];

    private static SortedDictionary<string, string> Flat(JsonNode? node)
    {
        SortedDictionary<string, string> flat = new(StringComparer.Ordinal);
        Walk(node, "");
        return flat;

        void Walk(JsonNode? at, string path)
        {
            if (at is JsonObject fields)
                foreach ((string key, JsonNode? value) in fields) Walk(value, path.Length == 0 ? key : $"{path}.{key}");
            else if (at is JsonArray items && items.Any(i => i is JsonObject))
                for (int i = 0; i < items.Count; i++) Walk(items[i], $"{path}[{(items[i]?["name"] ?? i).ToString()}]");
            else
            {
                flat[path] = at is JsonValue value && value.TryGetValue(out double number)
                    ? number.ToString("g6", CultureInfo.InvariantCulture)
                    : at?.ToJsonString() ?? "null";
            }
        }
    }
}

internal sealed record Difference(string Key, string? First, string? Second);
