using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

/// <summary>A schedule to add, or to put in place of the one of its name.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ScheduleRequest
{
    /// <summary>Letters, digits, -, _ and .; at most 64.</summary>
    public required string Name { get; init; }

    /// <summary>Five fields, or six with seconds first.</summary>
    public required string Cron { get; init; }

    /// <summary>IANA name.</summary>
    public string TimeZone { get; init; } = "UTC";

    /// <summary>The spec, as YAML; its paths are relative to the header X-Spec-Folder, or to the server's folder.</summary>
    public required string Spec { get; init; }

    /// <summary>What becomes of periods that pass while no server runs.</summary>
    public Misfire Misfire { get; init; }

    /// <summary>What is done while the run before is in progress.</summary>
    public Overlap Overlap { get; init; }

    /// <summary>Each firing waits for a part of these seconds, decided by its name and time.</summary>
    public double JitterSeconds { get; init; }
}
