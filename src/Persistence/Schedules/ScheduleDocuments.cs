using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Persistence.Schedules;

/// <summary>Rows as HTTP and <c>--json</c> show them.</summary>
public static class ScheduleDocuments
{
    public static FiringDocument ToDocument(this Firing firing) => new()
    {
        Schedule = firing.Schedule,
        DueAt = firing.DueAt,
        FiredAt = firing.FiredAt,
        Outcome = firing.Outcome,
        Detail = firing.Detail,
        RunId = firing.RunId,
        IsByHand = firing.IsByHand,
    };

    /// <param name="request">What is asked for.</param>
    /// <param name="spec">What its spec reads as.</param>
    public static Schedule ToSchedule(this ScheduleRequest request, RunSpec spec) => new()
    {
        Name = request.Name,
        Cron = request.Cron,
        TimeZone = request.TimeZone,
        Spec = spec,
        Misfire = request.Misfire,
        Overlap = request.Overlap,
        JitterSeconds = request.JitterSeconds,
    };
}
