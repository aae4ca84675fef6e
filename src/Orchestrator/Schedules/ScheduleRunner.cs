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
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Schedules;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Orchestrator.Schedules;

/// <summary>
/// Fires what is due. It may be called at any time, by several orchestrators at once and again after a crash: a firing's row and
/// its run are one transaction, and a period has one row.
/// </summary>
public sealed class ScheduleRunner(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    RunService runs,
    BusOutbox outbox,
    OutboxSignal signal,
    TimeProvider time)
{
    private static readonly TimeSpan OnTime = TimeSpan.FromMinutes(1); // later than that, the period was missed

    /// <summary>Fires a schedule's newest period, if it is due and nobody has.</summary>
    public async Task Fire(string name, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.Schedules.AsNoTracking().SingleOrDefaultAsync(s => s.Name == name, cancel) is not { PausedAt: null } schedule) return;
        await ReleaseWaiting(db, name, cancel); // whose run ended in the very moment in which it began to wait
        DateTimeOffset now = time.GetUtcNow(), latest = Plausible.Latest(now);
        if (Plausible.IsAhead(schedule.ActiveSince, now)) await Mend(db, schedule, now, cancel);
        IQueryable<DateTimeOffset?> fired = db.Firings.Where(f => f.Schedule == name && !f.IsByHand).Select(f => (DateTimeOffset?)f.DueAt);
        DateTimeOffset? ahead = await fired.Where(d => d > latest).MaxAsync(cancel);
        DateTimeOffset? last = await fired.Where(d => d <= latest).MaxAsync(cancel);
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
        await Enter(db, schedule, due, isByHand: false, isMissed, summary, cancel);
    }

    /// <summary>A schedule that was added or resumed while the clock was ahead is active from now on.</summary>
    private static async Task Mend(ArmoFlowDbContext db, Schedule schedule, DateTimeOffset now, CancellationToken cancel)
    {
        db.Note("clock.mended", $"schedule/{schedule.Name}", new { schedule.ActiveSince }, new { activeSince = now });
        schedule.ActiveSince = now;
        Schedule row = await db.Schedules.SingleAsync(s => s.Name == schedule.Name, cancel);
        row.ActiveSince = now;
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Runs a schedule's spec now, whatever the clock says.</summary>
    /// <exception cref="ScheduleException">There is no such schedule.</exception>
    public async Task<Firing> RunNow(string name, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Schedule schedule = await db.Schedules.AsNoTracking().SingleOrDefaultAsync(s => s.Name == name, cancel)
            ?? throw new ScheduleException($"no schedule '{name}'. See: armoflow schedules list.", Refusal.Missing);
        // a moment of its own: whole seconds are the periods', others' are taken
        for (DateTimeOffset at = time.GetUtcNow(); ; at = at.AddMilliseconds(1))
        {
            if (at.Millisecond != 0
                && await Enter(db, schedule, at, isByHand: true, isMissed: false, $"asked for by {Caller.Current.Name}", cancel)
                    is { } firing)
                return firing;
        }
    }

    /// <summary>What waited for a run that has ended.</summary>
    public async Task Release(Guid ended, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.Firings.AsNoTracking().Where(f => f.RunId == ended).Select(f => f.Schedule).FirstOrDefaultAsync(cancel) is { } name)
            await ReleaseWaiting(db, name, cancel);
    }

    private async Task ReleaseWaiting(ArmoFlowDbContext db, string name, CancellationToken cancel)
    {
        if (!await db.Firings.AnyAsync(f => f.Schedule == name && f.Outcome == FiringOutcome.Queued, cancel)
            || await InProgress(db, name).AnyAsync(cancel))
            return;
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        IQueryable<Firing> queued = db.Firings.Where(f => f.Schedule == name && f.Outcome == FiringOutcome.Queued);
        if (await queued.OrderBy(f => f.DueAt).FirstOrDefaultAsync(cancel) is not { } waiting) return;
        // Claimed by a condition on the row: of two that see the same end, one goes on.
        int claimed = await queued.Where(f => f.DueAt == waiting.DueAt)
            .ExecuteUpdateAsync(set => set.SetProperty(f => f.Outcome, f => f.Outcome), cancel);
        if (claimed == 0) return;
        if (await db.Schedules.AsNoTracking().SingleOrDefaultAsync(s => s.Name == name, cancel) is { } schedule)
            await Submit(db, schedule, waiting, cancel);
        else Skip(waiting, "the schedule was removed while it waited");
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
        signal.Raise();
    }

    private static void Skip(Firing firing, string why)
    {
        firing.Outcome = FiringOutcome.Skipped;
        firing.Detail = why;
    }

    private async Task<Firing?> Enter(ArmoFlowDbContext db, Schedule schedule, DateTimeOffset due, bool isByHand, bool isMissed,
        string? detail, CancellationToken cancel)
    {
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        DateTimeOffset at = new(due.UtcTicks - (due.UtcTicks % TimeSpan.TicksPerMillisecond), TimeSpan.Zero);
        int entered = await db.Database.ExecuteSqlAsync($"""
            insert into firings (schedule, due_at, fired_at, outcome, is_by_hand)
            values ({schedule.Name}, {Column(db, at)}, {Column(db, time.GetUtcNow())}, {FiringOutcome.Submitted.Text()}, {isByHand})
            on conflict (schedule, due_at) do nothing
            """, cancel);
        if (entered == 0) return null; // somebody else was first
        Firing firing = await db.Firings.SingleAsync(f => f.Schedule == schedule.Name && f.DueAt == at, cancel);
        db.IsNew(firing);
        firing.Detail = detail;
        List<Guid> inProgress = await InProgress(db, schedule.Name).ToListAsync(cancel);
        if (isMissed) firing.Outcome = FiringOutcome.Missed;
        else if (inProgress.Count > 0 && schedule.Overlap == Overlap.Skip)
            Skip(firing, $"run {inProgress[0]} is in progress");
        else if (inProgress.Count > 0 && schedule.Overlap == Overlap.Queue)
        {
            if (await db.Firings.AnyAsync(f => f.Schedule == schedule.Name && f.Outcome == FiringOutcome.Queued, cancel))
            {
                Skip(firing, "another firing waits already");
            }
            else
            {
                firing.Outcome = FiringOutcome.Queued;
                firing.Detail = $"waits for run {inProgress[0]}";
            }
        }
        else
        {
            await Submit(db, schedule, firing, cancel);
            foreach (Guid run in firing.Outcome == FiringOutcome.Submitted ? inProgress : [])
            {
                db.Note("run.cancel", $"run/{run}", after: new { reason = $"schedule {schedule.Name} fires again" });
                await outbox.Save(db, new CancelRun(run), cancel);
            }
        }
        db.Note("schedule.fired", $"schedule/{schedule.Name}",
            after: new { due, outcome = firing.Outcome.Text(), run = firing.RunId, detail = firing.Detail });
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
        signal.Raise(); // what is sent is there to be seen only now
        return firing;
    }

    private static IQueryable<Guid> InProgress(ArmoFlowDbContext db, string schedule) =>
        db.Firings.Where(f => f.Schedule == schedule && f.RunId != null).Join(db.Runs.Where(r => !RunState.Ended.Contains(r.CurrentState)),
            f => f.RunId, r => r.CorrelationId, (f, r) => r.CorrelationId);

    /// <summary>Submits the spec, or enters why that cannot be, such as a model or data set that is no longer there.</summary>
    private async Task Submit(ArmoFlowDbContext db, Schedule schedule, Firing firing, CancellationToken cancel)
    {
        try
        {
            Guid run = await runs.Submit(db, schedule.Spec, Trigger(schedule, firing.DueAt), cancel);
            firing.Outcome = FiringOutcome.Submitted;
            firing.RunId = run;
        }
        catch (RefusedException e) { Skip(firing, e.Message); }
    }

    private static object Column(ArmoFlowDbContext db, DateTimeOffset at) =>
        db.Database.IsNpgsql() ? at : at.UtcDateTime.ToString("O", CultureInfo.InvariantCulture);

    private static string Trigger(Schedule schedule, DateTimeOffset due) =>
        $"schedule {schedule.Name}, due {due.UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)}";

    /// <summary>The same on every orchestrator.</summary>
    private static TimeSpan Jitter(Schedule schedule, DateTimeOffset due) => schedule.JitterSeconds <= 0 ? TimeSpan.Zero
        : TimeSpan.FromSeconds(schedule.JitterSeconds
            * BitConverter.ToUInt32(SHA256.HashData(Encoding.UTF8.GetBytes($"{schedule.Name} {due.UtcTicks}"))) / uint.MaxValue);
}
