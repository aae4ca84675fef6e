using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Runs;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Orchestrator.Runs;

public sealed record RunFilter
{
    public string? Status { get; init; }
    public string? Name { get; init; }
    public string? Tag { get; init; }
    public DateTimeOffset? From { get; init; }
    public DateTimeOffset? To { get; init; }

    /// <summary>Text to find in the name, the error or the id.</summary>
    public string? Q { get; init; }

    /// <summary>Where the page before ended.</summary>
    public string? Cursor { get; init; }
    public int Limit { get; init; } = 50;
}

public sealed record RunPage(IReadOnlyList<RunDocument> Runs, string? Cursor);

/// <summary>What the command line and the HTTP API do with runs.</summary>
public sealed class RunService(IBus bus, IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, ProgressBoard progress, TimeProvider time)
{
    private static readonly TimeSpan CommitWait = TimeSpan.FromSeconds(30), LookInterval = TimeSpan.FromMilliseconds(20);
    private static readonly string[] Ended = ["Completed", "Failed", "Cancelled"];

    /// <summary>Submits a run and returns when it is in the books.</summary>
    public async Task<Guid> Submit(RunSpec spec, CancellationToken cancel)
    {
        Guid id = NewId.NextGuid();
        await bus.Publish(new SubmitRun { RunId = id, Spec = spec, SpecDigest = SpecReader.Digest(spec) }, cancel);
        await WaitFor(id, _ => true, cancel);
        return id;
    }

    /// <summary>A run of this spec that was interrupted or paused, if there is one.</summary>
    public async Task<Guid?> FindUnfinished(RunSpec spec, CancellationToken cancel)
    {
        string digest = SpecReader.Digest(spec);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RunState? run = await db.Runs.AsNoTracking().Where(r => r.SpecDigest == digest && !Ended.Contains(r.CurrentState)).OrderByDescending(r => r.SubmittedAt).FirstOrDefaultAsync(cancel);
        return run?.CorrelationId;
    }

    /// <summary>Runs that a process left in the middle of a step.</summary>
    public async Task<IReadOnlyList<Guid>> Interrupted(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Runs.AsNoTracking().Where(r => !Ended.Contains(r.CurrentState) && r.CurrentState != "Paused").OrderBy(r => r.SubmittedAt).Select(r => r.CorrelationId).ToListAsync(cancel);
    }

    public async Task<RunDocument?> Find(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RunState? run = await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.CorrelationId == id, cancel);
        return run?.ToDocument(artifacts.PathOf, time.GetUtcNow());
    }

    public async Task<RunSpec?> FindSpec(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return (await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.CorrelationId == id, cancel))?.Spec;
    }

    public StepProgressed? Progress(Guid id) => progress.Of(id);

    public async Task<RunPage> List(RunFilter filter, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<RunState> runs = db.Runs.AsNoTracking();
        if (filter.Status is { } status) runs = runs.Where(r => r.CurrentState == status);
        if (filter.Name is { } name) runs = runs.Where(r => r.Name == name);
        if (filter.From is { } from) runs = runs.Where(r => r.SubmittedAt >= from);
        if (filter.To is { } to) runs = runs.Where(r => r.SubmittedAt <= to);
        if (filter.Cursor is { } cursor && DateTimeOffset.TryParse(cursor, System.Globalization.CultureInfo.InvariantCulture, out DateTimeOffset before)) runs = runs.Where(r => r.SubmittedAt < before);
        int limit = Math.Clamp(filter.Limit, 1, 500);
        List<RunState> page = [];
        // Tags are JSON and q looks into several columns: both are matched here, over a newest-first stream that ends with the page.
        await foreach (RunState run in runs.OrderByDescending(r => r.SubmittedAt).AsAsyncEnumerable().WithCancellation(cancel))
        {
            if (filter.Tag is { } tag && !run.Tags.Contains(tag)) continue;
            if (filter.Q is { } q && !$"{run.Name} {run.CorrelationId} {run.Error}".Contains(q, StringComparison.OrdinalIgnoreCase)) continue;
            page.Add(run);
            if (page.Count == limit) break;
        }
        DateTimeOffset now = time.GetUtcNow();
        return new RunPage([.. page.Select(r => r.ToDocument(artifacts.PathOf, now))],
            page.Count == limit ? page[^1].SubmittedAt.ToString("O", System.Globalization.CultureInfo.InvariantCulture) : null);
    }

    /// <summary>Asks the run's saga for a change and returns the run once it has answered; null for an unknown run.</summary>
    /// <param name="id">The run.</param>
    /// <param name="action">cancel, pause, resume or retry.</param>
    /// <param name="cancel">Gives up waiting.</param>
    /// <exception cref="RunConflictException">The run is in a state that does not allow it.</exception>
    public async Task<RunDocument?> Control(Guid id, string action, CancellationToken cancel)
    {
        if (await Find(id, cancel) is not { } before) return null;
        bool allowed = action switch
        {
            "cancel" => !before.HasEnded,
            "pause" => !before.HasEnded && before.Status != "Paused",
            "resume" => !before.HasEnded,
            "retry" => before.Status is "Failed" or "Cancelled",
            _ => throw new ArgumentOutOfRangeException(nameof(action), action, "not an action"),
        };
        if (!allowed) throw new RunConflictException(before, action);
        object message = action switch { "cancel" => new CancelRun(id), "pause" => new PauseRun(id), "resume" => new ResumeRun(id), _ => new RetryRun(id) };
        int attempt = await Attempt(id, cancel);
        await bus.Publish(message, cancel);
        return await WaitFor(id, run => run.Attempt != attempt || run.CurrentState != before.Status, cancel);
    }

    private async Task<int> Attempt(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Runs.Where(r => r.CorrelationId == id).Select(r => r.Attempt).SingleAsync(cancel);
    }

    private async Task<RunDocument> WaitFor(Guid id, Func<RunState, bool> condition, CancellationToken cancel)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(CommitWait);
        while (true)
        {
            await using (ArmoFlowDbContext db = await contexts.CreateDbContextAsync(limit.Token))
                if (await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.CorrelationId == id, limit.Token) is { } run && condition(run))
                    return run.ToDocument(artifacts.PathOf, time.GetUtcNow());
            await Task.Delay(LookInterval, limit.Token);
        }
    }
}

/// <summary>A run cannot be changed so in its state.</summary>
public sealed class RunConflictException(RunDocument run, string action)
    : Exception($"run {run.RunId}: it is {run.Status}; expected {(action == "retry" ? "Failed or Cancelled" : "a run in progress")} to {action} it. {(run.HasEnded && action != "retry" ? "Start it anew with: armoflow run." : "See: armoflow runs show.")}");
