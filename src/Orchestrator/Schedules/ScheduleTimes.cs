using ArmoFlow.Persistence.Schedules;
using Cronos;

namespace ArmoFlow.Orchestrator.Schedules;

/// <summary>
/// When a cron expression is due in a time zone. Where clocks go forward, a time that is left out fires at the first moment after
/// the gap; where they go back, a time that comes twice fires the first time (expressions of intervals, such as every half hour,
/// both times).
/// </summary>
public sealed class ScheduleTimes
{
    private const int LongestCron = 200;
    private readonly CronExpression _cron;
    private readonly TimeZoneInfo _zone;

    /// <exception cref="ScheduleException">The cron expression or the time zone is not valid.</exception>
    public ScheduleTimes(string cron, string zone)
    {
        if (cron.Length > LongestCron)
            throw new ScheduleException($"the cron expression has {cron.Length} characters; expected at most {LongestCron}.");
        try
        {
            _cron = CronExpression.Parse(cron,
                cron.Split(' ', StringSplitOptions.RemoveEmptyEntries).Length == 6 ? CronFormat.IncludeSeconds : CronFormat.Standard);
        }
        catch (CronFormatException e)
        {
            throw new ScheduleException(
                $"cron '{cron}': {e.Message} Expected five fields (minute, hour, day, month, weekday), such as '30 2 * * 1-5'.");
        }
        try { _zone = TimeZoneInfo.FindSystemTimeZoneById(zone); }
        catch (Exception e)
            when (e is TimeZoneNotFoundException or InvalidTimeZoneException)
        {
            throw new ScheduleException($"time zone '{zone}': not known here; expected an IANA name such as Europe/Zurich.");
        }
    }

    /// <summary>The next times after one.</summary>
    public IReadOnlyList<DateTimeOffset> After(DateTimeOffset from, int count)
    {
        List<DateTimeOffset> times = [];
        DateTimeOffset? next = _cron.GetNextOccurrence(from, _zone);
        while (next is { } at && times.Count < count)
        {
            times.Add(at.ToUniversalTime());
            next = _cron.GetNextOccurrence(at, _zone);
        }
        return times;
    }

    /// <summary>The newest time that is due: after one, and not after now; and how many there were.</summary>
    public (DateTimeOffset? Due, int Count) Newest(DateTimeOffset after, DateTimeOffset now)
    {
        DateTimeOffset? due = null;
        int count = 0;
        for (DateTimeOffset? next = _cron.GetNextOccurrence(after, _zone); next <= now; next = _cron.GetNextOccurrence(next.Value, _zone))
        {
            due = next.Value.ToUniversalTime();
            count++;
        }
        return (due, count);
    }
}
