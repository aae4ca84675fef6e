using System.Diagnostics;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Work;
using ArmoFlow.RewardModel.Tensors;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Runs;

/// <summary>Reads a workspace's database; asks the process that holds it, or holds it for a moment itself, to change a run.</summary>
internal sealed class WorkspaceClient : IRunClient
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);
    // the holder waits itself, and looks three times a second
    private static readonly TimeSpan AnswerWait = RunService.AnswerWait + TimeSpan.FromSeconds(5);
    private readonly string _folder;
    private readonly ServiceProvider _services;

    private WorkspaceClient(string folder, ServiceProvider services)
    {
        _folder = folder;
        _services = services;
    }

    /// <exception cref="UsageException">There is no workspace, or it is of another version and cannot be brought to this one.</exception>
    public static async Task<WorkspaceClient> Open(string folder) => new(folder, await EmbeddedHost.OpenDatabase(folder));

    private RunQueries Queries => _services.GetRequiredService<RunQueries>();

    public async Task<RunDocument> Find(Guid id, CancellationToken cancel) =>
        await Queries.Find(id, cancel) ?? throw IRunClient.Unknown(id);
    public async Task<RunSpec> FindSpec(Guid id, CancellationToken cancel) =>
        await Queries.FindSpec(id, cancel) ?? throw IRunClient.Unknown(id);
    public Task<RunPage> List(RunFilter filter, CancellationToken cancel) => Queries.List(filter, cancel);
    public IAsyncEnumerable<RunEvent> Watch(Guid id, CancellationToken cancel) =>
        _services.GetRequiredService<RunWatch>().Changes(id, cancel);

    public async Task<RunDocument> Control(Guid id, RunAction action, CancellationToken cancel)
    {
        if (await EmbeddedHost.TryStart(_folder, cancel) is { } host)
        {
            await using (host)
            {
                RunDocument run =
                    await host.Services.GetRequiredService<RunService>().Control(id, action, cancel) ?? throw IRunClient.Unknown(id);
                if (action is not (RunAction.Resume or RunAction.Retry) || run.Pending is not null) return run;
                return await RunView.Follow(host.Services.GetRequiredService<RunWatch>().Changes(id, cancel));
            }
        }
        return await AskHolder(id, action, cancel);
    }

    private async Task<RunDocument> AskHolder(Guid id, RunAction action, CancellationToken cancel)
    {
        RunDocument before = await Find(id, cancel);
        if (before.HasEnded && action != RunAction.Retry) throw new RunConflictException(before, action);
        ControlRequest request = new() { RunId = id, Action = action, RequestedAt = TimeProvider.System.GetUtcNow() };
        IDbContextFactory<ArmoFlowDbContext> contexts = _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>();
        await using (ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel))
        {
            db.ControlRequests.Add(request);
            await db.SaveChangesAsync(cancel);
        }
        RunStatus? wanted = RunService.StatusAfter(action);
        long start = Stopwatch.GetTimestamp();
        bool isHeard = false;
        RunDocument run = before;
        // A holder that is done with a run may leave before it says that it heard: the run's own state is an answer too.
        while (!isHeard && (wanted is null || run.Status != wanted) && Stopwatch.GetElapsedTime(start) < AnswerWait)
        {
            await Task.Delay(Interval, cancel);
            await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
            isHeard = await db.ControlRequests.AnyAsync(c => c.Id == request.Id && c.Done, cancel);
            run = await Find(id, cancel);
        }
        if (isHeard && wanted is not null && run.HasEnded && run.Status != wanted) throw new RunConflictException(run, action);
        bool isDone = wanted is null ? isHeard : run.Status == wanted;
        if (isDone && !isHeard) await Withdraw(contexts, request.Id, cancel);
        return isDone ? run : run with { Pending = action };
    }

    /// <summary>What has come about is not asked of the next process that works here.</summary>
    private static async Task Withdraw(IDbContextFactory<ArmoFlowDbContext> contexts, long request, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.ControlRequests.Where(c => c.Id == request).ExecuteUpdateAsync(set => set.SetProperty(c => c.Done, true), cancel);
    }

    /// <summary>A local file with an artifact's bytes.</summary>
    /// <exception cref="UsageException">It is gone; the message says why.</exception>
    public Task<string> PathOf(string sha256, CancellationToken cancel) => LocalCopy(sha256, cancel);

    /// <summary>Where a backbone lies, that a run found in a folder.</summary>
    public Task<string> BackboneAt(string recorded, string digest, CancellationToken cancel) =>
        _services.GetRequiredService<BackboneStore>().Locate(recorded, digest, cancel);

    /// <summary>A spec that leaves out what is forgotten by now.</summary>
    public async Task<RunSpec> WithoutForgotten(RunSpec spec, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db =
            await _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync(cancel);
        return await ForgettingStore.Apply(db, spec, cancel);
    }

    private async Task<string> LocalCopy(string sha256, CancellationToken cancel)
    {
        try { return await _services.GetRequiredService<ArtifactStore>().Open(sha256, cancel); }
        catch (ArtifactLostException e)
        {
            throw new UsageException(await _services.GetRequiredService<TombstoneStore>().Explain(e, cancel));
        }
    }

    public async Task Download(string sha256, string path, CancellationToken cancel)
    {
        string source = await LocalCopy(sha256, cancel);
        AtomicFile.Write(path, target =>
        {
            using FileStream stream = File.OpenRead(source);
            stream.CopyTo(target);
        });
    }

    public async Task<IReadOnlyList<StepLogDocument>> Logs(Guid id, string? step, CancellationToken cancel) =>
        [.. (await _services.GetRequiredService<StepLogStore>().Of(id, step, cancel)).Select(l => l.ToDocument())];
    public Task<string?> TextOf(StepLogDocument log, CancellationToken cancel) =>
        _services.GetRequiredService<StepLogStore>().TextOf(new StepLog { Text = log.Text, Sha256 = log.Sha256 }, cancel);
    public async Task<IReadOnlyList<WorkerDocument>> Workers(CancellationToken cancel) =>
        [.. (await _services.GetRequiredService<WorkStore>().Workers(cancel)).Select(w => w.ToDocument())];
    public Task<IReadOnlyList<FaultGroup>> Faults(CancellationToken cancel) => _services.GetRequiredService<FaultStore>().Groups(cancel);
    public async Task<IReadOnlyList<FaultDocument>> Faults(string which, CancellationToken cancel) =>
        [.. (await _services.GetRequiredService<FaultStore>().Find(which, cancel)).Select(f => f.ToDocument())];

    public Task<int> Decide(string which, FaultDecision decision, CancellationToken cancel) =>
        _services.GetRequiredService<FaultStore>().Decide(which, decision, cancel);

    public ValueTask DisposeAsync() => _services.DisposeAsync();
}
