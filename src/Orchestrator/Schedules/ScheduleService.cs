using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Schedules;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Orchestrator.Schedules;

/// <summary>Adds, removes, pauses and shows schedules; needs no bus.</summary>
public sealed class ScheduleService(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    private const int Preview = 5, LargestHistory = 1000;
    private const double MostJitter = 24 * 3600;

    public async Task<IReadOnlyList<ScheduleDocument>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return [.. (await db.Schedules.AsNoTracking().OrderBy(s => s.Name).ToListAsync(cancel)).Select(Document)];
    }

    /// <summary>Adds a schedule, or replaces the one of this name.</summary>
    /// <exception cref="ScheduleException">It cannot be so.</exception>
    public async Task<ScheduleDocument> Put(Schedule schedule, CancellationToken cancel)
    {
        if (schedule.Name.Length is 0 or > 64 || !schedule.Name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            throw new ScheduleException($"schedule '{schedule.Name}': expected a name of letters, digits, '-', '_' and '.'.");
        if (schedule.JitterSeconds is < 0 or > MostJitter || !double.IsFinite(schedule.JitterSeconds))
            throw new ScheduleException($"jitter of {schedule.JitterSeconds} s: expected 0 to {MostJitter}.");
        DateTimeOffset now = time.GetUtcNow();
        if (new ScheduleTimes(schedule.Cron, schedule.TimeZone).After(now, 1).Count == 0)
            throw new ScheduleException($"cron '{schedule.Cron}' is never due. Correct it.");
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Schedule? before = await db.Schedules.SingleOrDefaultAsync(s => s.Name == schedule.Name, cancel);
        schedule.ActiveSince = now;
        schedule.UpdatedAt = now;
        schedule.CreatedBy = Caller.Current.Name;
        db.Note("schedule.put", $"schedule/{schedule.Name}", before is null ? null : Told(before), Told(schedule));
        if (before is not null) db.Entry(before).State = EntityState.Detached;
        db.Entry(schedule).State = before is null ? EntityState.Added : EntityState.Modified;
        await db.SaveChangesAsync(cancel);
        return Document(schedule);
    }

    /// <exception cref="ScheduleException">There is no such schedule.</exception>
    public Task<ScheduleDocument> Pause(string name, CancellationToken cancel) =>
        Change(name, "schedule.paused", s => s.PausedAt ??= time.GetUtcNow(), cancel);

    /// <summary>Goes on from now: what was due in between is not made up for.</summary>
    /// <exception cref="ScheduleException">There is no such schedule.</exception>
    public Task<ScheduleDocument> Resume(string name, CancellationToken cancel) =>
        Change(name, "schedule.resumed", schedule =>
        {
            schedule.PausedAt = null;
            schedule.ActiveSince = time.GetUtcNow();
        }, cancel);

    /// <exception cref="ScheduleException">There is no such schedule.</exception>
    public async Task Remove(string name, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Schedule schedule = await Find(db, name, cancel);
        db.Note("schedule.removed", $"schedule/{name}", Told(schedule));
        db.Remove(schedule);
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Firings, newest first; also of a schedule that is no longer there.</summary>
    public async Task<IReadOnlyList<Firing>> History(string name, int limit, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Firings.AsNoTracking()
            .Where(f => f.Schedule == name)
            .OrderByDescending(f => f.DueAt)
            .Take(Math.Clamp(limit, 1, LargestHistory))
            .ToListAsync(cancel);
    }

    private async Task<ScheduleDocument> Change(string name, string action, Action<Schedule> change, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Schedule schedule = await Find(db, name, cancel);
        object before = Told(schedule);
        change(schedule);
        schedule.UpdatedAt = time.GetUtcNow();
        db.Note(action, $"schedule/{name}", before, Told(schedule));
        await db.SaveChangesAsync(cancel);
        return Document(schedule);
    }

    private static async Task<Schedule> Find(ArmoFlowDbContext db, string name, CancellationToken cancel) =>
        await db.Schedules.SingleOrDefaultAsync(s => s.Name == name, cancel)
            ?? throw new ScheduleException($"no schedule '{name}'. See: armoflow schedules list.", Refusal.Missing);

    private ScheduleDocument Document(Schedule s) =>
        new(s.Name, s.Cron, s.TimeZone, s.Spec.Name, s.Misfire, s.Overlap, s.JitterSeconds, s.PausedAt, s.CreatedBy,
            s.PausedAt is null ? new ScheduleTimes(s.Cron, s.TimeZone).After(time.GetUtcNow(), Preview) : []);

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
