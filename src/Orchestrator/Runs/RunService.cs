using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Runs;
using MassTransit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>What the command line and the HTTP API do with runs.</summary>
public sealed class RunService(BusOutbox outbox, RunQueries queries, IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    private static readonly TimeSpan CommitWait = TimeSpan.FromSeconds(30), LookInterval = TimeSpan.FromMilliseconds(20);

    /// <summary>Enters a run in the books, together with the message that starts it.</summary>
    public async Task<Guid> Submit(RunSpec spec, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await Submit(db, spec, null, cancel);
    }

    /// <summary>The same, with the caller's other changes.</summary>
    /// <param name="db">The caller's books.</param>
    /// <param name="spec">The spec.</param>
    /// <param name="trigger">What asked for it; null for a person.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="DatasetException">It reads a data set that is not there.</exception>
    public async Task<Guid> Submit(ArmoFlowDbContext db, RunSpec spec, string? trigger, CancellationToken cancel)
    {
        RunState run = new() { CorrelationId = NewId.NextGuid(), Trigger = trigger };
        spec = await DatasetBooks.Pin(db, spec, cancel);
        run.Open(spec, time.GetUtcNow());
        db.Runs.Add(run);
        db.RunTags.AddRange(run.Tags.Distinct().Select(tag => new RunTag { RunId = run.CorrelationId, Tag = tag, SubmittedAt = run.SubmittedAt }));
        await outbox.Save(db, new SubmitRun { RunId = run.CorrelationId, Spec = spec }, cancel);
        return run.CorrelationId;
    }

    /// <summary>Asks the run's saga for a change and returns the run once it has answered; null for an unknown run.</summary>
    /// <param name="id">The run.</param>
    /// <param name="action">cancel, pause, resume or retry.</param>
    /// <param name="cancel">Gives up waiting.</param>
    /// <exception cref="RunConflictException">The run is in a state that does not allow it.</exception>
    public async Task<RunDocument?> Control(Guid id, string action, CancellationToken cancel)
    {
        if (await queries.Find(id, cancel) is not { } before) return null;
        bool allowed = action switch
        {
            "cancel" => !before.HasEnded,
            "pause" => !before.HasEnded && before.Status != "Paused",
            "resume" => !before.HasEnded,
            "retry" => before.Status is "Failed" or "Cancelled",
            _ => throw new ArgumentOutOfRangeException(nameof(action), action, "not an action"),
        };
        if (!allowed) throw new RunConflictException(before, action);
        int attempt = await Attempt(id, cancel);
        await Ask(id, action, before.Status, cancel);
        return await WaitFor(id, run => run.Attempt != attempt || run.CurrentState != before.Status, cancel);
    }

    private async Task Ask(Guid id, string action, string status, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        db.Note($"run.{action}", $"run/{id}", before: new { state = status });
        await (action switch
        {
            "cancel" => outbox.Save(db, new CancelRun(id), cancel),
            "pause" => outbox.Save(db, new PauseRun(id), cancel),
            "resume" => outbox.Save(db, new ResumeRun(id), cancel),
            _ => outbox.Save(db, new RetryRun(id), cancel),
        });
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
                    return (await queries.Find(id, limit.Token))!;
            await Task.Delay(LookInterval, limit.Token);
        }
    }
}

/// <summary>A run cannot be changed so in its state.</summary>
public sealed class RunConflictException(RunDocument run, string action)
    : Exception($"run {run.RunId}: it is {run.Status}; expected {(action == "retry" ? "Failed or Cancelled" : "a run in progress")} to {action} it. {(run.HasEnded && action != "retry" ? "Start it anew with: armoflow run." : "See: armoflow runs show.")}");
