using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Alerts;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Workspaces;

/// <summary>A run in this process, from its spec to what the gates make of it.</summary>
internal static class EmbeddedRun
{
    /// <summary>Runs a spec to its end; goes on with a run of the same spec that was interrupted.</summary>
    public static async Task<RunDocument> ToEnd(RunSpec spec, string workspace, CancellationToken cancel)
    {
        await using EmbeddedHost host = await EmbeddedHost.Start(workspace, cancel);
        Guid id = await Begin(host.Services, spec, cancel);
        RunDocument run = await Follow(host.Services, id, cancel);
        if (run.Model is { } model && run.HasEnded) await Judge(host.Services, model, id, cancel);
        else if (run.HasEnded) await ApplyRule(host.Services, id, cancel);
        return run;
    }

    /// <summary>Shows the run until it rests, or until the disk is so full that it cannot go on.</summary>
    private static async Task<RunDocument> Follow(IServiceProvider services, Guid id, CancellationToken cancel)
    {
        using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<RunDocument> run = RunView.Follow(services.GetRequiredService<RunWatch>().Changes(id, stop.Token));
        Task<Exception> full = services.GetRequiredService<DiskFullSignal>().Wait(stop.Token);
        Task first = await Task.WhenAny(run, full);
        await stop.CancelAsync();
        if (first == run) return await run;
        await Task.WhenAny(run); // it has been told to end; how it does is of no interest
        throw await full;
    }

    private static async Task<Guid> Begin(IServiceProvider services, RunSpec spec, CancellationToken cancel)
    {
        RunService service = services.GetRequiredService<RunService>();
        RunQueries queries = services.GetRequiredService<RunQueries>();
        Guid? unfinished = await queries.FindUnfinished(spec, cancel);
        // Another spec's run that a killed process left stays where it was, and says so.
        foreach (Guid other in await queries.Interrupted(cancel))
            if (other != unfinished) await service.Control(other, RunAction.Pause, cancel);
        if (unfinished is { } known)
        {
            Console.Error.WriteLine($"run {known} was interrupted: going on with it");
            return (await service.Control(known, RunAction.Resume, cancel))!.RunId;
        }
        Guid id = await service.Submit(spec, cancel);
        Console.Error.WriteLine($"run {id}  {spec.Name}");
        return id;
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
        if (await registry.Current(version.Model, alias, cancel) is { } now && now.Version == version.Version)
            Console.Error.WriteLine($"{version.Model}@{alias} is version {now.Version} now, by {now.Reason}");
        await ShowAlert(services, version.Model, run, cancel);
    }

    private static async Task ShowAlert(IServiceProvider services, string model, Guid run, CancellationToken cancel)
    {
        if ((await services.GetRequiredService<AlertStore>().Alerts(model, 1, cancel)).FirstOrDefault(a => a.RunId == run) is { } alert)
            Console.Error.WriteLine($"alert: {alert.Text}");
        services.GetRequiredService<AlertSignal>().Raise();
    }
}
