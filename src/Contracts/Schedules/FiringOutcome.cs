using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Schedules;

/// <summary>What became of a period of a schedule.</summary>
[JsonConverter(typeof(NamedEnumConverter<FiringOutcome>))]
public enum FiringOutcome
{
    /// <summary>A run was submitted.</summary>
    Submitted,

    /// <summary>It waits for an earlier run to end.</summary>
    Queued,

    /// <summary>Nothing was run; the detail says why.</summary>
    Skipped,

    /// <summary>No server ran at the time.</summary>
    Missed,
}
