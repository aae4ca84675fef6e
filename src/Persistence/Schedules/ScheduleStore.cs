using System.Globalization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Schedules;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Schedules;

/// <summary>Rows of schedules and of their firings.</summary>
public sealed class ScheduleStore(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    public async Task<IReadOnlyList<Schedule>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Schedules.AsNoTracking().OrderBy(s => s.Name).ToListAsync(cancel);
    }

    /// <exception cref="ScheduleException">There is no such schedule.</exception>
    public async Task<Schedule> Get(string name, CancellationToken cancel) => await Find(name, cancel) ?? throw Unknown(name);

    public async Task<Schedule?> Find(string name, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Schedules.AsNoTracking().SingleOrDefaultAsync(s => s.Name == name, cancel);
    }

    /// <summary>Adds a schedule, or replaces the one of its name.</summary>
    public async Task Put(Schedule schedule, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Schedule? before = await db.Schedules.SingleOrDefaultAsync(s => s.Name == schedule.Name, cancel);
        db.Note("schedule.put", $"schedule/{schedule.Name}", before is null ? null : Told(before), Told(schedule));
        if (before is not null) db.Entry(before).State = EntityState.Detached;
        db.Entry(schedule).State = before is null ? EntityState.Added : EntityState.Modified;
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Changes a schedule, and notes it.</summary>
    /// <exception cref="ScheduleException">There is no such schedule.</exception>
    public async Task<Schedule> Change(string name, string action, Action<Schedule> change, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Schedule schedule = await db.Schedules.SingleOrDefaultAsync(s => s.Name == name, cancel) ?? throw Unknown(name);
        object before = Told(schedule);
        change(schedule);
        db.Note(action, $"schedule/{name}", before, Told(schedule));
        await db.SaveChangesAsync(cancel);
        return schedule;
    }

    /// <exception cref="ScheduleException">There is no such schedule.</exception>
    public async Task Remove(string name, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Schedule schedule = await db.Schedules.SingleOrDefaultAsync(s => s.Name == name, cancel) ?? throw Unknown(name);
        db.Note("schedule.removed", $"schedule/{name}", Told(schedule));
        db.Remove(schedule);
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Enters since when a schedule is active, which was entered while the clock was ahead.</summary>
    public async Task MendActiveSince(Schedule schedule, DateTimeOffset now, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        db.Note("clock.mended", $"schedule/{schedule.Name}", new { schedule.ActiveSince }, new { activeSince = now });
        Schedule row = await db.Schedules.SingleAsync(s => s.Name == schedule.Name, cancel);
        row.ActiveSince = now;
        await db.SaveChangesAsync(cancel);
        schedule.ActiveSince = now;
    }

    /// <summary>Firings, newest first; also of a schedule that is no longer there.</summary>
    public async Task<IReadOnlyList<Firing>> Firings(string name, int limit, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Firings.AsNoTracking()
            .Where(f => f.Schedule == name)
            .OrderByDescending(f => f.DueAt)
            .Take(limit)
            .ToListAsync(cancel);
    }

    /// <summary>The newest period that was fired for by the clock, up to a time and after it; null for none.</summary>
    public async Task<(DateTimeOffset? UpTo, DateTimeOffset? After)> LastFired(string name, DateTimeOffset time, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<DateTimeOffset?> fired = db.Firings.Where(f => f.Schedule == name && !f.IsByHand).Select(f => (DateTimeOffset?)f.DueAt);
        DateTimeOffset? after = await fired.Where(d => d > time).MaxAsync(cancel);
        return (await fired.Where(d => d <= time).MaxAsync(cancel), after);
    }

    /// <summary>The schedule whose firing made a run; null for none.</summary>
    public async Task<string?> OfRun(Guid run, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Firings.AsNoTracking().Where(f => f.RunId == run).Select(f => f.Schedule).FirstOrDefaultAsync(cancel);
    }

    /// <summary>True where a firing waits and no run of the schedule is in progress any more.</summary>
    public async Task<bool> CanRelease(string name, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await Queued(db, name).AnyAsync(cancel) && !await InProgress(db, name).AnyAsync(cancel);
    }

    /// <summary>Runs of a schedule that are in progress.</summary>
    public static async Task<IReadOnlyList<Guid>> InProgress(UnitOfWork unit, string name, CancellationToken cancel) =>
        await InProgress(unit.Database, name).ToListAsync(cancel);

    /// <summary>True where a firing of the schedule waits.</summary>
    public static Task<bool> HasQueued(UnitOfWork unit, string name, CancellationToken cancel) =>
        Queued(unit.Database, name).AnyAsync(cancel);

    /// <summary>The firing that waits, claimed by a condition on its row: of two that see the same end one gets it.</summary>
    public static async Task<Firing?> TakeQueued(UnitOfWork unit, string name, CancellationToken cancel)
    {
        IQueryable<Firing> queued = Queued(unit.Database, name);
        if (await queued.OrderBy(f => f.DueAt).FirstOrDefaultAsync(cancel) is not { } waiting) return null;
        int claimed = await queued.Where(f => f.DueAt == waiting.DueAt)
            .ExecuteUpdateAsync(set => set.SetProperty(f => f.Outcome, f => f.Outcome), cancel);
        return claimed == 0 ? null : waiting;
    }

    /// <summary>Enters a firing for a period; null where the period has one. What is changed of it is saved with the unit.</summary>
    public static async Task<Firing?> TryEnter(UnitOfWork unit, string name, DateTimeOffset due, DateTimeOffset now, bool isByHand,
        CancellationToken cancel)
    {
        ArmoFlowDbContext db = unit.Database;
        DateTimeOffset at = new(due.UtcTicks - (due.UtcTicks % TimeSpan.TicksPerMillisecond), TimeSpan.Zero);
        int entered = await db.Database.ExecuteSqlAsync($"""
            insert into firings (schedule, due_at, fired_at, outcome, is_by_hand)
            values ({name}, {Column(db, at)}, {Column(db, now)}, {FiringOutcome.Submitted.Text()}, {isByHand})
            on conflict (schedule, due_at) do nothing
            """, cancel);
        if (entered == 0) return null; // somebody else was first
        Firing firing = await db.Firings.SingleAsync(f => f.Schedule == name && f.DueAt == at, cancel);
        db.IsNew(firing);
        return firing;
    }

    private static object Column(ArmoFlowDbContext db, DateTimeOffset at) =>
        db.Database.IsNpgsql() ? at : at.UtcDateTime.ToString("O", CultureInfo.InvariantCulture);

    private static IQueryable<Firing> Queued(ArmoFlowDbContext db, string schedule) =>
        db.Firings.Where(f => f.Schedule == schedule && f.Outcome == FiringOutcome.Queued);

    private static IQueryable<Guid> InProgress(ArmoFlowDbContext db, string schedule) =>
        db.Firings.Where(f => f.Schedule == schedule && f.RunId != null).Join(db.Runs.Where(r => !RunState.Ended.Contains(r.CurrentState)),
            f => f.RunId, r => r.CorrelationId, (f, r) => r.CorrelationId);

    private static ScheduleException Unknown(string name) =>
        new($"no schedule '{name}'. See: armoflow schedules list.", Refusal.Missing);

    private static object Told(Schedule s) =>
        new
        {
            s.Cron,
            s.TimeZone,
            spec = SpecReader.Digest(s.Spec),
            misfire = s.Misfire.ToString(),
            overlap = s.Overlap.ToString(),
            s.JitterSeconds,
            s.PausedAt
        };
}
