using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

/// <summary>A data set to make.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record DatasetRequest
{
    /// <summary>Letters, digits, -, _ and .; at most 64.</summary>
    public required string Name { get; init; }
}

/// <summary>A place to watch.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record WatchRequest
{
    /// <summary>A folder where the server runs, or s3://bucket/prefix.</summary>
    public required string Address { get; init; }
}

/// <summary>A policy to add: its name and the spec, as YAML, whose section 'retrain' says when.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record PolicyRequest
{
    /// <summary>The policy's name.</summary>
    public required string Name { get; init; }

    /// <summary>The spec, as YAML or JSON.</summary>
    public required string Spec { get; init; }
}
