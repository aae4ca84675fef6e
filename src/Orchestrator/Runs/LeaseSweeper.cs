using System.Diagnostics;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Work;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>How long silence may last, and a shard.</summary>
/// <param name="Lost">A lease that stood still for so long is lost.</param>
/// <param name="Slow">A shard that was held for so long is offered to others; its holder's answer still counts if it comes first.</param>
/// <param name="Unheld">A step that nobody held for so long, while a worker for it had nothing to do, is asked for again.</param>
public sealed record LeaseLimits(TimeSpan Lost, TimeSpan Slow, TimeSpan Unheld)
{
    public static LeaseLimits Default { get; } = new(TimeSpan.FromSeconds(40), TimeSpan.FromMinutes(10), TimeSpan.FromMinutes(2));
}

/// <summary>
/// Watches the leases: one that is not renewed is taken from its worker, and the run asks for the work again. Work that nobody holds
/// and no message carries, whatever the cause, is asked for again too. It compares counts that it saw at its own times, so that no
/// two machines' clocks need agree; several orchestrators may watch the same leases.
/// </summary>
public sealed class LeaseSweeper(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    BusOutbox outbox,
    StepLogStore logs,
    LeaseLimits limits,
    TimeProvider time,
    ILogger<LeaseSweeper> log) : PeriodicService("leases", TimeSpan.FromSeconds(8), FirstRound.AfterInterval, log)
{
    private const int MostUnheld = 1000;
    private static readonly TimeSpan SendTime = TimeSpan.FromSeconds(15);
    private readonly Dictionary<(Guid Run, string Step, int Slot, Guid Worker), Sighting> _leases = [];
    private readonly Dictionary<Guid, Sighting> _workers = [];
    private readonly Dictionary<(Guid Run, int Attempt), Sighting> _unheld = [];
    private bool _looksForOrphans = true; // at the start: a process may have ended while nobody watched

    /// <summary>A count, and since when it was seen unchanged, and since when at all.</summary>
    private readonly record struct Sighting(long Count, long Since, long First);

    protected override async Task Round(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<WorkLease> leases = await db.WorkLeases.AsNoTracking().ToListAsync(cancel);
        List<WorkerRow> workers = await db.Workers.AsNoTracking().ToListAsync(cancel);
        Look(_workers, workers.ToDictionary(w => w.Id, w => w.Beats));
        Look(_leases, leases.ToDictionary(l => (l.RunId, l.Step, l.Slot, l.Worker), l => l.Renewals));
        foreach (WorkLease lease in leases)
        {
            Sighting seen = _leases[(lease.RunId, lease.Step, lease.Slot, lease.Worker)];
            string holder =
                workers.Find(w => w.Id == lease.Worker) is { } worker ? $"worker {worker.ProcessId} on {worker.Machine}" : "a worker";
            if (Stopwatch.GetElapsedTime(seen.Since) > limits.Lost)
                await Take(lease, $"{holder} was lost: no heartbeat for {limits.Lost.TotalSeconds:f0} s");
            else if (lease.Slot > 0 && Stopwatch.GetElapsedTime(seen.First) > limits.Slow)
                await Take(lease, $"{holder} held it for more than {limits.Slow.TotalMinutes:f0} minutes");
        }
        foreach (WorkerRow gone in workers.Where(w => Stopwatch.GetElapsedTime(_workers[w.Id].Since) > limits.Lost))
            _looksForOrphans |= await db.Workers.Where(w => w.Id == gone.Id && w.Beats == gone.Beats).ExecuteDeleteAsync(cancel) > 0;
        if (_looksForOrphans) _looksForOrphans = await logs.EndOrphans(cancel);
        await AskForUnheld(db, leases, [.. workers.Where(w => Stopwatch.GetElapsedTime(_workers[w.Id].Since) <= limits.Lost)], cancel);
        DateTimeOffset now = time.GetUtcNow();
        await BringBackDeadlines(db, now, cancel);
        foreach (var late in await db.Runs.Where(r => r.DeadlineAt < now)
            .Select(r => new { r.CorrelationId, r.Attempt })
            .Take(100)
            .ToListAsync(cancel))
            await Tell(new RunTimedOut(late.CorrelationId, late.Attempt), cancel);

        async Task Take(WorkLease lease, string reason)
        {
            // One of several orchestrators takes it; a renewal that came meanwhile saves it.
            if (await db.WorkLeases.Where(l => l.RunId == lease.RunId
                && l.Step == lease.Step
                && l.Slot == lease.Slot
                && l.Worker == lease.Worker
                && l.Renewals == lease.Renewals).ExecuteDeleteAsync(cancel) == 0)
                return;
            Instruments.Losses.Add(1, Instruments.Tag("step", lease.Step));
            log.LogWarning("run {Run}, {Step}: {Reason}", lease.RunId, lease.Step, reason);
            await Tell(new WorkLost { RunId = lease.RunId, Attempt = lease.Attempt, Reason = reason }, cancel);
        }
    }

    /// <summary>
    /// A message that asks for a step is taken at once by a worker that has nothing to do. So a run that waits while there is one,
    /// and while nothing waits to be sent, waits for a message that will not come.
    /// </summary>
    private async Task AskForUnheld(ArmoFlowDbContext db, List<WorkLease> leases, List<WorkerRow> workers, CancellationToken cancel)
    {
        string[] idle = [.. StepCatalogue.Names.Where(step => workers.Exists(w => w.IsIdleFor(step)))];
        DateTime overdue = time.GetUtcNow().UtcDateTime - SendTime;
        bool isBrokerHeard = !await db.OutboxMessages.AnyAsync(m => m.SentTime < overdue, cancel);
        IReadOnlyList<(Guid Run, int Attempt, string State)> waiting =
            idle.Length > 0 && isBrokerHeard ? await Unheld(db, leases, idle, cancel) : [];
        Look(_unheld, waiting.ToDictionary(w => (w.Run, w.Attempt), _ => 0L));
        foreach ((Guid run, int attempt, string state) in waiting.Where(
            w => Stopwatch.GetElapsedTime(_unheld[(w.Run, w.Attempt)].First) > limits.Unheld))
        {
            _unheld.Remove((run, attempt));
            log.LogWarning("run {Run}: nobody works on it and no message asks for its step; asking again", run);
            if (state == RunState.Submitted) await Tell(new SubmitRun { RunId = run }, cancel);
            else
            {
                await Tell(new WorkLost { RunId = run, Attempt = attempt, Reason = "nobody held the step, and no message asked for it" },
                    cancel);
            }
        }
    }

    /// <summary>Runs that wait for a step which an idle worker serves, and that nobody works on, for them or for another run.</summary>
    private static async Task<IReadOnlyList<(Guid Run, int Attempt, string State)>> Unheld(ArmoFlowDbContext db, List<WorkLease> leases,
        string[] idle, CancellationToken cancel)
    {
        List<string> states = [.. idle.Select(s => StepCatalogue.Find(s).State)];
        if (idle.Contains(StepNames.Ingestion)) states.Add(RunState.Submitted);
        Guid[] held = [.. leases.Select(l => l.RunId).Distinct()];
        IQueryable<Guid> waitForOthers =
            from waiting in db.StepClaims
            join holder in db.StepClaims on waiting.Key equals holder.Key
            where !waiting.Holds && holder.Holds
            select waiting.RunId;
        var runs = await db.Runs
            .Where(r => states.Contains(r.CurrentState) && !held.Contains(r.CorrelationId) && !waitForOthers.Contains(r.CorrelationId))
            .OrderBy(r => r.SubmittedAt)
            .Select(r => new { r.CorrelationId, r.Attempt, r.CurrentState })
            .Take(MostUnheld)
            .ToListAsync(cancel);
        return [.. runs.Select(r => (r.CorrelationId, r.Attempt, r.CurrentState))];
    }

    /// <summary>Deadlines that were set while the clock was ahead begin now: they could not have been set so late.</summary>
    private async Task BringBackDeadlines(ArmoFlowDbContext db, DateTimeOffset now, CancellationToken cancel)
    {
        DateTimeOffset shortest = now.AddHours(new LimitsSpec().StepHours) + Plausible.Tolerance; // few specs allow more
        foreach (RunState run in await db.Runs.Where(r => r.DeadlineAt > shortest).Take(100).ToListAsync(cancel))
        {
            TimeSpan longest = TimeSpan.FromHours(Math.Min(run.Spec.Limits.StepHours, run.Spec.Limits.RunHours));
            if (!Plausible.IsAhead(run.DeadlineAt!.Value, now, longest)) continue;
            log.LogWarning("run {Run}: its deadline {Deadline:O} is later than its spec allows: the clock was ahead. It counts from now on",
                run.CorrelationId, run.DeadlineAt);
            DateTimeOffset deadline = now + longest;
            db.Note("clock.mended", $"run/{run.CorrelationId}", new { run.DeadlineAt }, new { deadlineAt = deadline });
            run.DeadlineAt = deadline;
        }
        await db.SaveChangesAsync(cancel);
    }

    private async Task Tell<T>(T message, CancellationToken cancel) where T : class
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await outbox.Save(db, message, cancel);
    }

    private static void Look<TKey>(Dictionary<TKey, Sighting> sightings, Dictionary<TKey, long> now) where TKey : notnull
    {
        foreach (TKey gone in sightings.Keys.Where(k => !now.ContainsKey(k)).ToList()) sightings.Remove(gone);
        long at = Stopwatch.GetTimestamp();
        foreach ((TKey key, long count) in now)
        {
            bool isKnown = sightings.TryGetValue(key, out Sighting seen);
            if (!isKnown) sightings[key] = new Sighting(count, at, at);
            else if (seen.Count != count) sightings[key] = seen with { Count = count, Since = at };
        }
    }
}
