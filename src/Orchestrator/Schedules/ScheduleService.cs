using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Schedules;

namespace ArmoFlow.Orchestrator.Schedules;

/// <summary>Adds, removes, pauses and shows schedules; needs no bus.</summary>
public sealed class ScheduleService(ScheduleStore store, TimeProvider time)
{
    private const int Preview = 5, LargestHistory = 1000;
    private const double MostJitter = 24 * 3600;

    public async Task<IReadOnlyList<ScheduleDocument>> List(CancellationToken cancel) =>
        [.. (await store.List(cancel)).Select(Document)];

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
        schedule.ActiveSince = now;
        schedule.UpdatedAt = now;
        schedule.CreatedBy = Caller.Current.Name;
        await store.Put(schedule, cancel);
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
    public Task Remove(string name, CancellationToken cancel) => store.Remove(name, cancel);

    /// <summary>Firings, newest first; also of a schedule that is no longer there.</summary>
    public Task<IReadOnlyList<Firing>> History(string name, int limit, CancellationToken cancel) =>
        store.Firings(name, Math.Clamp(limit, 1, LargestHistory), cancel);

    private async Task<ScheduleDocument> Change(string name, string action, Action<Schedule> change, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        return Document(await store.Change(name, action, schedule =>
        {
            change(schedule);
            schedule.UpdatedAt = now;
        }, cancel));
    }

    private ScheduleDocument Document(Schedule s) =>
        new(s.Name, s.Cron, s.TimeZone, s.Spec.Name, s.Misfire, s.Overlap, s.JitterSeconds, s.PausedAt, s.CreatedBy,
            s.PausedAt is null ? new ScheduleTimes(s.Cron, s.TimeZone).After(time.GetUtcNow(), Preview) : []);
}
