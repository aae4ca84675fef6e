using ArmoFlow.Contracts.Documents;

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
}
