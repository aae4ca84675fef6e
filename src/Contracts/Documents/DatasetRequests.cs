using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record DatasetRequest
{
    public required string Name { get; init; }
}

/// <summary>A place to watch.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record WatchRequest
{
    public required string Address { get; init; }
}

/// <summary>A policy to add: its name and the spec, as YAML, whose section 'retrain' says when.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record PolicyRequest
{
    public required string Name { get; init; }
    public required string Spec { get; init; }
}
