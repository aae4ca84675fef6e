using System.Text.Json.Serialization;
using ArmoFlow.Contracts.Schedules;

namespace ArmoFlow.Contracts.Documents;

/// <summary>What to do with a period that passed while no server ran.</summary>
[JsonConverter(typeof(NamedEnumConverter<Misfire>))]
public enum Misfire
{
    /// <summary>One run for all that was missed, as soon as a server runs.</summary>
    Once,

    /// <summary>Nothing; the next period is on time.</summary>
    Skip,
}

/// <summary>What to do at a firing while the run of an earlier one is in progress.</summary>
[JsonConverter(typeof(NamedEnumConverter<Overlap>))]
public enum Overlap
{
    /// <summary>Let this one go.</summary>
    Skip,

    /// <summary>Wait for it, one firing at most.</summary>
    Queue,

    /// <summary>Cancel it.</summary>
    Cancel,
}

/// <summary>A schedule with its next firings; none while it is paused.</summary>
public sealed record ScheduleDocument(
    string Name,
    string Cron,
    string TimeZone,
    string Spec,
    Misfire Misfire,
    Overlap Overlap,
    double JitterSeconds,
    DateTimeOffset? PausedAt,
    string CreatedBy,
    IReadOnlyList<DateTimeOffset> Next);

/// <summary>A period of a schedule that came; once for each, whoever saw it first.</summary>
public sealed record FiringDocument
{
    /// <summary>The schedule's name.</summary>
    public required string Schedule { get; init; }

    /// <summary>The period.</summary>
    public required DateTimeOffset DueAt { get; init; }

    /// <summary>When it was fired for.</summary>
    public required DateTimeOffset FiredAt { get; init; }

    /// <summary>What came of it.</summary>
    public required FiringOutcome Outcome { get; init; }

    /// <summary>Why, where there is more to say.</summary>
    public required string? Detail { get; init; }

    /// <summary>The run that it became; null for none.</summary>
    public required Guid? RunId { get; init; }

    /// <summary>Asked for by somebody, not by the clock: it takes no period's place.</summary>
    public required bool IsByHand { get; init; }
}
