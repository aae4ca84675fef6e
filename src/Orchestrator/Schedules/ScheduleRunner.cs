using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Schedules;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Schedules;

namespace ArmoFlow.Orchestrator.Schedules;

/// <summary>
/// Fires what is due. It may be called at any time, by several orchestrators at once and again after a crash: a firing's row and
/// its run are one transaction, and a period has one row.
/// </summary>
public sealed class ScheduleRunner(
    ScheduleStore store,
    UnitsOfWork units,
    RunService runs,
    BusOutbox outbox,
    TimeProvider time)
{
    private static readonly TimeSpan OnTime = TimeSpan.FromMinutes(1); // later than that, the period was missed

    /// <summary>Fires a schedule's newest period, if it is due and nobody has.</summary>
    public async Task Fire(string name, CancellationToken cancel)
    {
        if (await store.Find(name, cancel) is not { PausedAt: null } schedule) return;
        await ReleaseWaiting(name, cancel); // whose run ended in the very moment in which it began to wait
        DateTimeOffset now = time.GetUtcNow();
        if (Plausible.IsAhead(schedule.ActiveSince, now)) await store.MendActiveSince(schedule, now, cancel);
        (DateTimeOffset? last, DateTimeOffset? ahead) = await store.LastFired(name, Plausible.Latest(now), cancel);
        DateTimeOffset since = last > schedule.ActiveSince ? last.Value : schedule.ActiveSince;
        (DateTimeOffset? newest, int count) = new ScheduleTimes(schedule.Cron, schedule.TimeZone).Newest(since, now);
        if (newest is not { } due || now < due + Jitter(schedule, due)) return;
        bool isMissed = now - due - Jitter(schedule, due) > OnTime && schedule.Misfire == Misfire.Skip;
        string? summary = count > 1 ? $"one firing for {count} periods" : null;
        if (ahead is { } wrong)
        {
            string warning =
                $"a firing for {wrong.UtcDateTime:yyyy-MM-dd HH:mm:ss}Z, which has not come, is not counted: the clock was ahead";
            summary = summary is null ? warning : $"{summary}; {warning}";
        }
        await Enter(schedule, due, isByHand: false, isMissed, summary, cancel);
    }

    /// <summary>Runs a schedule's spec now, whatever the clock says.</summary>
    /// <exception cref="ScheduleException">There is no such schedule.</exception>
    public async Task<Firing> RunNow(string name, CancellationToken cancel)
    {
        Schedule schedule = await store.Get(name, cancel);
        // a moment of its own: whole seconds are the periods', others' are taken
        for (DateTimeOffset at = time.GetUtcNow(); ; at = at.AddMilliseconds(1))
        {
            if (at.Millisecond != 0
                && await Enter(schedule, at, isByHand: true, isMissed: false, $"asked for by {Caller.Current.Name}", cancel)
                    is { } firing)
                return firing;
        }
    }

    /// <summary>What waited for a run that has ended.</summary>
    public async Task Release(Guid ended, CancellationToken cancel)
    {
        if (await store.OfRun(ended, cancel) is { } name) await ReleaseWaiting(name, cancel);
    }

    private async Task ReleaseWaiting(string name, CancellationToken cancel)
    {
        if (!await store.CanRelease(name, cancel)) return;
        await using UnitOfWork unit = await units.Begin(cancel);
        if (await ScheduleStore.TakeQueued(unit, name, cancel) is not { } waiting) return;
        if (await store.Find(name, cancel) is { } schedule) await Submit(unit, schedule, waiting, cancel);
        else Skip(waiting, "the schedule was removed while it waited");
        await unit.Commit(cancel);
    }

    private static void Skip(Firing firing, string why)
    {
        firing.Outcome = FiringOutcome.Skipped;
        firing.Detail = why;
    }

    private async Task<Firing?> Enter(Schedule schedule, DateTimeOffset due, bool isByHand, bool isMissed, string? detail,
        CancellationToken cancel)
    {
        await using UnitOfWork unit = await units.Begin(cancel);
        if (await ScheduleStore.TryEnter(unit, schedule.Name, due, time.GetUtcNow(), isByHand, cancel) is not { } firing) return null;
        firing.Detail = detail;
        if (isMissed) firing.Outcome = FiringOutcome.Missed;
        else await Begin(unit, schedule, firing, cancel);
        unit.Note("schedule.fired", $"schedule/{schedule.Name}",
            after: new { due, outcome = firing.Outcome.Text(), run = firing.RunId, detail = firing.Detail });
        await unit.Commit(cancel);
        return firing;
    }

    /// <summary>Submits the spec, or does with the firing what the schedule says while a run is in progress.</summary>
    private async Task Begin(UnitOfWork unit, Schedule schedule, Firing firing, CancellationToken cancel)
    {
        IReadOnlyList<Guid> inProgress = await ScheduleStore.InProgress(unit, schedule.Name, cancel);
        if (inProgress.Count > 0 && schedule.Overlap == Overlap.Skip)
        {
            Skip(firing, $"run {inProgress[0]} is in progress");
            return;
        }
        if (inProgress.Count > 0 && schedule.Overlap == Overlap.Queue)
        {
            await Queue(unit, schedule, firing, inProgress[0], cancel);
            return;
        }
        await Submit(unit, schedule, firing, cancel);
        if (firing.Outcome != FiringOutcome.Submitted) return;
        foreach (Guid run in inProgress)
        {
            unit.Note("run.cancel", $"run/{run}", after: new { reason = $"schedule {schedule.Name} fires again" });
            await outbox.Save(unit, new CancelRun(run), cancel);
        }
    }

    /// <summary>One firing may wait.</summary>
    private static async Task Queue(UnitOfWork unit, Schedule schedule, Firing firing, Guid inProgress, CancellationToken cancel)
    {
        if (await ScheduleStore.HasQueued(unit, schedule.Name, cancel))
        {
            Skip(firing, "another firing waits already");
            return;
        }
        firing.Outcome = FiringOutcome.Queued;
        firing.Detail = $"waits for run {inProgress}";
    }

    /// <summary>Submits the spec, or enters why that cannot be, such as a model or data set that is no longer there.</summary>
    private async Task Submit(UnitOfWork unit, Schedule schedule, Firing firing, CancellationToken cancel)
    {
        try
        {
            Guid run = await runs.Submit(unit, schedule.Spec, Trigger(schedule, firing.DueAt), cancel);
            firing.Outcome = FiringOutcome.Submitted;
            firing.RunId = run;
        }
        catch (RefusedException e) { Skip(firing, e.Message); }
    }

    private static string Trigger(Schedule schedule, DateTimeOffset due) =>
        $"schedule {schedule.Name}, due {due.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)}";

    /// <summary>The same on every orchestrator.</summary>
    private static TimeSpan Jitter(Schedule schedule, DateTimeOffset due) => schedule.JitterSeconds <= 0 ? TimeSpan.Zero
        : TimeSpan.FromSeconds(schedule.JitterSeconds
            * BitConverter.ToUInt32(SHA256.HashData(Encoding.UTF8.GetBytes($"{schedule.Name} {due.UtcTicks}"))) / uint.MaxValue);
}
