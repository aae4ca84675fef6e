using System.Diagnostics;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Work;
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
    LeaseStore store,
    BusOutbox outbox,
    StepLogStore logs,
    LeaseLimits limits,
    TimeProvider time,
    ILogger<LeaseSweeper> log) : PeriodicService("leases", TimeSpan.FromSeconds(8), FirstRound.AfterInterval, log)
{
    private const int MostUnheld = 1000, MostAtOnce = 100;
    private static readonly TimeSpan SendTime = TimeSpan.FromSeconds(15);
    private readonly Dictionary<(Guid Run, string Step, int Slot, Guid Worker), Sighting> _leases = [];
    private readonly Dictionary<Guid, Sighting> _workers = [];
    private readonly Dictionary<(Guid Run, int Attempt), Sighting> _unheld = [];
    private bool _looksForOrphans = true; // at the start: a process may have ended while nobody watched

    /// <summary>A count, and since when it was seen unchanged, and since when at all.</summary>
    private readonly record struct Sighting(long Count, long Since, long First);

    protected override async Task Round(CancellationToken cancel)
    {
        IReadOnlyList<WorkLease> leases = await store.Leases(cancel);
        IReadOnlyList<WorkerRow> workers = await store.Workers(cancel);
        Look(_workers, workers.ToDictionary(w => w.Id, w => w.Beats));
        Look(_leases, leases.ToDictionary(l => (l.RunId, l.Step, l.Slot, l.Worker), l => l.Renewals));
        foreach (WorkLease lease in leases)
            if (WhyTaken(lease, workers) is { } reason) await Take(lease, reason, cancel);
        foreach (WorkerRow gone in workers.Where(w => Stopwatch.GetElapsedTime(_workers[w.Id].Since) > limits.Lost))
            _looksForOrphans |= await store.Remove(gone, cancel);
        if (_looksForOrphans) _looksForOrphans = await logs.EndOrphans(cancel);
        await AskForUnheld(leases, [.. workers.Where(w => Stopwatch.GetElapsedTime(_workers[w.Id].Since) <= limits.Lost)], cancel);
        DateTimeOffset now = time.GetUtcNow();
        await BringBackDeadlines(now, cancel);
        foreach (WaitingRun late in await store.Late(now, MostAtOnce, cancel))
            await outbox.Send(new RunTimedOut(late.RunId, late.Attempt), cancel);
    }

    /// <summary>Why a lease is taken from its worker; null where it is not.</summary>
    private string? WhyTaken(WorkLease lease, IReadOnlyList<WorkerRow> workers)
    {
        Sighting seen = _leases[(lease.RunId, lease.Step, lease.Slot, lease.Worker)];
        WorkerRow? worker = workers.FirstOrDefault(w => w.Id == lease.Worker);
        string holder = worker is null ? "a worker" : $"worker {worker.ProcessId} on {worker.Machine}";
        if (Stopwatch.GetElapsedTime(seen.Since) > limits.Lost)
            return $"{holder} was lost: no heartbeat for {limits.Lost.TotalSeconds:f0} s";
        bool isSlow = lease.Slot > 0 && Stopwatch.GetElapsedTime(seen.First) > limits.Slow;
        return isSlow ? $"{holder} held it for more than {limits.Slow.TotalMinutes:f0} minutes" : null;
    }

    /// <summary>One of several orchestrators takes it; a renewal that came meanwhile saves it.</summary>
    private async Task Take(WorkLease lease, string reason, CancellationToken cancel)
    {
        if (!await store.Take(lease, cancel)) return;
        Instruments.Losses.Add(1, Instruments.Tag("step", lease.Step));
        log.LogWarning("run {Run}, {Step}: {Reason}", lease.RunId, lease.Step, reason);
        await outbox.Send(new WorkLost { RunId = lease.RunId, Attempt = lease.Attempt, Reason = reason }, cancel);
    }

    /// <summary>
    /// A message that asks for a step is taken at once by a worker that has nothing to do. So a run that waits while there is one,
    /// and while nothing waits to be sent, waits for a message that will not come.
    /// </summary>
    private async Task AskForUnheld(IReadOnlyList<WorkLease> leases, List<WorkerRow> workers, CancellationToken cancel)
    {
        string[] idle = [.. StepCatalogue.Names.Where(step => workers.Exists(w => w.IsIdleFor(step)))];
        DateTime overdue = time.GetUtcNow().UtcDateTime - SendTime;
        bool isBrokerHeard = !await store.HasUnsent(overdue, cancel);
        IReadOnlyList<WaitingRun> waiting = idle.Length > 0 && isBrokerHeard ? await Unheld(leases, idle, cancel) : [];
        Look(_unheld, waiting.ToDictionary(w => (w.RunId, w.Attempt), _ => 0L));
        foreach (WaitingRun run in waiting)
        {
            if (Stopwatch.GetElapsedTime(_unheld[(run.RunId, run.Attempt)].First) <= limits.Unheld) continue;
            _unheld.Remove((run.RunId, run.Attempt));
            log.LogWarning("run {Run}: nobody works on it and no message asks for its step; asking again", run.RunId);
            await AskAgain(run, cancel);
        }
    }

    private Task AskAgain(WaitingRun run, CancellationToken cancel)
    {
        const string Reason = "nobody held the step, and no message asked for it";
        return run.State == RunState.Submitted
            ? outbox.Send(new SubmitRun { RunId = run.RunId }, cancel)
            : outbox.Send(new WorkLost { RunId = run.RunId, Attempt = run.Attempt, Reason = Reason }, cancel);
    }

    /// <summary>Runs that wait for a step which an idle worker serves, and that nobody works on, for them or for another run.</summary>
    private Task<IReadOnlyList<WaitingRun>> Unheld(IReadOnlyList<WorkLease> leases, string[] idle, CancellationToken cancel)
    {
        List<string> states = [.. idle.Select(s => StepCatalogue.Find(s).State)];
        if (idle.Contains(StepNames.Ingestion)) states.Add(RunState.Submitted);
        return store.Unheld(states, [.. leases.Select(l => l.RunId).Distinct()], MostUnheld, cancel);
    }

    /// <summary>Deadlines that were set while the clock was ahead begin now: they could not have been set so late.</summary>
    private Task BringBackDeadlines(DateTimeOffset now, CancellationToken cancel)
    {
        DateTimeOffset shortest = now.AddHours(new LimitsSpec().StepHours) + Plausible.Tolerance; // few specs allow more
        return store.MoveDeadlines(shortest, run =>
        {
            TimeSpan longest = TimeSpan.FromHours(Math.Min(run.Spec.Limits.StepHours, run.Spec.Limits.RunHours));
            if (!Plausible.IsAhead(run.DeadlineAt!.Value, now, longest)) return null;
            log.LogWarning("run {Run}: its deadline {Deadline:O} is later than its spec allows: the clock was ahead. It counts from now on",
                run.CorrelationId, run.DeadlineAt);
            return now + longest;
        }, MostAtOnce, cancel);
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
