using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

/// <summary>A schedule to add, or to put in place of the one of its name.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ScheduleRequest
{
    public required string Name { get; init; }

    /// <summary>Five fields, or six with seconds first.</summary>
    public required string Cron { get; init; }

    /// <summary>IANA name.</summary>
    public string TimeZone { get; init; } = "UTC";

    /// <summary>The spec, as YAML; its paths are relative to the header X-Spec-Folder, or to the server's folder.</summary>
    public required string Spec { get; init; }
    public Misfire Misfire { get; init; }
    public Overlap Overlap { get; init; }
    public double JitterSeconds { get; init; }
}
