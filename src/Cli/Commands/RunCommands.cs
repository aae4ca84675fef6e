using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Alerts;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Models;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

internal static class RunCommands
{
    private static readonly TimeSpan JudgementWait = TimeSpan.FromMinutes(5), JudgementPause = TimeSpan.FromMilliseconds(500);

    public static Command Run()
    {
        Argument<string> spec = new("spec") { Description = "The run's spec (YAML), or its folder." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> gates = new("--fail-below-gates")
        {
            Description = "Exit code 1 where the gates of the spec or of the model's policy do not hold; waits until that is known."
        };
        Option<bool> json = Options.Json();
        Command command = new("run", "Runs a spec to its end; a run of the same spec that was interrupted is gone on with.") { spec,
            workspace, server, gates, json };
        command.SetAction(async (parsed, cancel) =>
        {
            string path = parsed.GetRequiredValue(spec), folder = parsed.GetRequiredValue(workspace);
            string? url = parsed.GetResult(workspace)?.Implicit != false ? parsed.GetValue(server) : null;
            RunDocument run = url is not null ? await OnServer(url, path, cancel) : await Embedded(SpecReader.Load(path), folder, cancel);
            if (!parsed.GetValue(gates) || run.Status != RunStatus.Completed) return Report(run, parsed.GetValue(json));
            RunGates verdicts = await Verdicts(url, folder, run.RunId, cancel);
            // with what was found
            await using (IRunClient client = await IRunClient.Open(url, folder)) run = await client.Find(run.RunId, cancel);
            int code = Report(run, parsed.GetValue(json));
            return code == ExitCodes.Done ? ReportGates(verdicts) : code;
        });
        return command;
    }

    /// <summary>What the gates say of a run that has ended, as soon as that is known.</summary>
    private static async Task<RunGates> Verdicts(string? server, string workspace, Guid run, CancellationToken cancel)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(JudgementWait);
        while (true)
        {
            RunGates? gates = await Books.Ask(server, workspace, books => books.GetRequiredService<RunVerdicts>().Of(run, cancel), client =>
                client.Get<RunGates?>($"api/v1/runs/{run}/gates", cancel));
            if (gates is { IsJudged: true }) return gates;
            try { await Task.Delay(JudgementPause, limit.Token); }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
            {
                throw new ServerAwayException($"run {run} is completed, and nobody has held it against its gates within "
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

    /// <summary>Runs a spec in this process.</summary>
    public static async Task<RunDocument> Embedded(RunSpec spec, string workspace, CancellationToken cancel)
    {
        await using EmbeddedHost host = await EmbeddedHost.Start(workspace, cancel);
        RunService service = host.Services.GetRequiredService<RunService>();
        RunQueries queries = host.Services.GetRequiredService<RunQueries>();
        Guid? unfinished = await queries.FindUnfinished(spec, cancel);
        // Another spec's run that a killed process left stays where it was, and says so.
        foreach (Guid other in await queries.Interrupted(cancel))
            if (other != unfinished) await service.Control(other, RunAction.Pause, cancel);
        Guid id;
        if (unfinished is { } known)
        {
            Console.Error.WriteLine($"run {known} was interrupted: going on with it");
            id = (await service.Control(known, RunAction.Resume, cancel))!.RunId;
        }
        else
        {
            id = await service.Submit(spec, cancel);
            Console.Error.WriteLine($"run {id}  {spec.Name}");
        }
        RunDocument run = await RunView.Follow(host.Services.GetRequiredService<RunWatch>().Changes(id, cancel));
        if (run.Model is { } model && run.HasEnded) await Judge(host.Services, model, id, cancel);
        else if (run.HasEnded) await ApplyRule(host.Services, id, cancel);
        return run;
    }

    /// <summary>Says what the gates make of an evaluation, before the process that would have it judged ends.</summary>
    private static async Task Judge(IServiceProvider services, string model, Guid run, CancellationToken cancel)
    {
        await services.GetRequiredService<EvaluationJudge>().JudgePending(cancel);
        await ShowAlert(services, model.Split('@')[0], run, cancel);
    }

    /// <summary>Says what a rule, of the spec or of the model's policy, makes of the new version, in the same way.</summary>
    private static async Task ApplyRule(IServiceProvider services, Guid run, CancellationToken cancel)
    {
        ModelRegistry registry = services.GetRequiredService<ModelRegistry>();
        if (await registry.MadeBy(run, cancel) is not { AwaitsAlias: { } alias } version) return;
        await services.GetRequiredService<PromotionRules>().ApplyPending(cancel);
        if (await registry.Current(version.Model, alias, cancel) is { } now
            && now.Version == version.Version)
            Console.Error.WriteLine($"{version.Model}@{alias} is version {now.Version} now, by {now.Reason}");
        await ShowAlert(services, version.Model, run, cancel);
    }

    private static async Task ShowAlert(IServiceProvider services, string model, Guid run, CancellationToken cancel)
    {
        if ((await services.GetRequiredService<AlertStore>().Alerts(model, 1, cancel)).FirstOrDefault(a => a.RunId == run) is { } alert)
            Console.Error.WriteLine($"alert: {alert.Text}");
        services.GetRequiredService<AlertSignal>().Raise();
    }

    private static async Task<RunDocument> OnServer(string url, string specPath, CancellationToken cancel)
    {
        await using ServerClient client = new(url);
        SpecReader.Load(specPath);
        Guid id = await client.Submit(Directory.Exists(specPath) ? Path.Combine(specPath, "spec.yaml") : specPath, cancel);
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
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server(), status = new("--status") { Description = "Only runs in this state." },
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
        Option<bool> json = Options.Json();
        Command command = new("list", "Lists runs, newest first.") { workspace, server, status, name, tag, q, where, cursor, limit, json };
        command.SetAction(async (parsed, cancel) =>
        {
            RunStatus? wanted = RunQueries.StatusOf(parsed.GetValue(status)); // a misspelt one is named before anything is opened
            await using IRunClient client = await IRunClient.Open(parsed.GetValue(server), parsed.GetRequiredValue(workspace));
            RunPage page = await client.List(new RunFilter
            {
                Status = wanted,
                Name = parsed.GetValue(name),
                Tag = parsed.GetValue(tag),
                Q = parsed.GetValue(q),
                Where = parsed.GetValue(where),
                Cursor = parsed.GetValue(cursor),
                Limit = parsed.GetValue(limit)
            }, cancel);
            if (parsed.GetValue(json)) Terminal.PrintJson(page);
            else
            {
                RunTables.List(page.Runs);
                if (page.Cursor is { } next) Console.Error.WriteLine($"older ones: --cursor {next}");
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Show()
    {
        Argument<Guid> id = Options.Run();
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("show", "Shows a run: its steps, artifacts and figures.") { id, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            await using IRunClient client = await IRunClient.Open(parsed.GetValue(server), parsed.GetRequiredValue(workspace));
            RunDocument run = await client.Find(parsed.GetRequiredValue(id), cancel);
            Terminal.WarnOf([run.Disagrees]);
            if (parsed.GetValue(json)) Terminal.PrintJson(run);
            else RunTables.Show(run);
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Watch()
    {
        Argument<Guid> id = Options.Run();
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        const string Description =
            "Follows a run that another process works on, until it ends; exit code 1 where it failed, was cancelled, or no process works "
                + "on it.";
        Command command = new("watch", Description) { id, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            await using IRunClient client = await IRunClient.Open(parsed.GetValue(server), parsed.GetRequiredValue(workspace));
            await client.Find(parsed.GetRequiredValue(id), cancel);
            return Report(await RunView.Follow(client.Watch(parsed.GetRequiredValue(id), cancel)), parsed.GetValue(json));
        });
        return command;
    }

    private static Command Control(RunAction action, string description)
    {
        Argument<Guid> id = Options.Run();
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new(action.Text(), description) { id, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            await using IRunClient client = await IRunClient.Open(parsed.GetValue(server), parsed.GetRequiredValue(workspace));
            RunDocument run = await client.Control(parsed.GetRequiredValue(id), action, cancel);
            if (run.Pending is not null) return ReportPending(run, parsed.GetValue(json));
            if (action is RunAction.Resume or RunAction.Retry && run.HasEnded) return Report(run, parsed.GetValue(json));
            if (parsed.GetValue(json)) Terminal.PrintJson(run);
            else Console.Error.WriteLine($"run {run.RunId}: {run.Status}");
            return ExitCodes.Done;
        });
        return command;
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
        Option<string> workspace = Options.Workspace();
        Option<bool> json = Options.Json();
        Command command =
            new("compare", "Compares two runs: what differs in their specs and in their figures.") { first, second, workspace, json };
        command.SetAction(async (parsed, cancel) =>
        {
            await using WorkspaceClient client = await WorkspaceClient.Open(parsed.GetRequiredValue(workspace));
            Guid a = parsed.GetRequiredValue(first), b = parsed.GetRequiredValue(second);
            (SortedDictionary<string, string> specA, SortedDictionary<string, string> specB) =
                (Flat(JsonSerializer.SerializeToNode(await client.FindSpec(a, cancel), Terminal.Json)),
                    Flat(JsonSerializer.SerializeToNode(await client.FindSpec(b, cancel), Terminal.Json)));
            (SortedDictionary<string, string> figuresA, SortedDictionary<string, string> figuresB) =
                (Flat((await client.Find(a, cancel)).Metrics), Flat((await client.Find(b, cancel)).Metrics));
            IReadOnlyList<Difference> spec = Differences(specA, specB),
                figures = [.. Differences(figuresA, figuresB).Where(d => !d.Key.Contains("lossCurve", StringComparison.Ordinal))];
            if (parsed.GetValue(json)) Terminal.PrintJson(new { first = a, second = b, spec, metrics = figures });
            else RunTables.Compare(spec, figures);
            return ExitCodes.Done;
        });
        return command;
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
