using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Work;

/// <summary>A run that waits for a step.</summary>
/// <param name="RunId">The run.</param>
/// <param name="Attempt">The number of the saga's latest request.</param>
/// <param name="State">The saga's state.</param>
public sealed record WaitingRun(Guid RunId, int Attempt, string State);

/// <summary>Leases of work in hand, the workers that hold them, and the runs that wait.</summary>
public sealed class LeaseStore(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    public async Task<IReadOnlyList<WorkLease>> Leases(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.WorkLeases.AsNoTracking().ToListAsync(cancel);
    }

    /// <summary>Workers that ever beat and did not leave.</summary>
    public async Task<IReadOnlyList<WorkerRow>> Workers(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Workers.AsNoTracking().ToListAsync(cancel);
    }

    /// <summary>Takes a lease from its holder; false where it was renewed meanwhile, or another took it.</summary>
    public async Task<bool> Take(WorkLease lease, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<WorkLease> same = db.WorkLeases
            .Where(l => l.RunId == lease.RunId && l.Step == lease.Step && l.Slot == lease.Slot)
            .Where(l => l.Worker == lease.Worker && l.Renewals == lease.Renewals);
        return await same.ExecuteDeleteAsync(cancel) > 0;
    }

    /// <summary>Removes a worker's row; false where it has beaten meanwhile.</summary>
    public async Task<bool> Remove(WorkerRow worker, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Workers.Where(w => w.Id == worker.Id && w.Beats == worker.Beats).ExecuteDeleteAsync(cancel) > 0;
    }

    /// <summary>True where a message waits to be sent since a time.</summary>
    public async Task<bool> HasUnsent(DateTime since, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.OutboxMessages.AnyAsync(m => m.SentTime < since, cancel);
    }

    /// <summary>Runs in given states that nobody works on, for them or for another run, oldest first.</summary>
    /// <param name="states">The saga's states.</param>
    /// <param name="held">Runs of which a worker holds work.</param>
    /// <param name="most">How many at most.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task<IReadOnlyList<WaitingRun>> Unheld(IReadOnlyList<string> states, IReadOnlyList<Guid> held, int most,
        CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<Guid> waitForOthers =
            from waiting in db.StepClaims
            join holder in db.StepClaims on waiting.Key equals holder.Key
            where !waiting.Holds && holder.Holds
            select waiting.RunId;
        return await db.Runs
            .Where(r => states.Contains(r.CurrentState) && !held.Contains(r.CorrelationId) && !waitForOthers.Contains(r.CorrelationId))
            .OrderBy(r => r.SubmittedAt)
            .Take(most)
            .Select(r => new WaitingRun(r.CorrelationId, r.Attempt, r.CurrentState))
            .ToListAsync(cancel);
    }

    /// <summary>Runs whose deadline has passed.</summary>
    public async Task<IReadOnlyList<WaitingRun>> Late(DateTimeOffset now, int most, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Runs
            .Where(r => r.DeadlineAt < now)
            .Take(most)
            .Select(r => new WaitingRun(r.CorrelationId, r.Attempt, r.CurrentState))
            .ToListAsync(cancel);
    }

    /// <summary>Moves deadlines.</summary>
    /// <param name="after">Those later than this are asked about.</param>
    /// <param name="newOne">A run's new deadline; null to leave it.</param>
    /// <param name="most">How many at most.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task MoveDeadlines(DateTimeOffset after, Func<RunState, DateTimeOffset?> newOne, int most, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        foreach (RunState run in await db.Runs.Where(r => r.DeadlineAt > after).Take(most).ToListAsync(cancel))
        {
            if (newOne(run) is not { } deadline) continue;
            db.Note("clock.mended", $"run/{run.CorrelationId}", new { run.DeadlineAt }, new { deadlineAt = deadline });
            run.DeadlineAt = deadline;
        }
        await db.SaveChangesAsync(cancel);
    }
}
