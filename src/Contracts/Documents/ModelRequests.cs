using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

/// <summary>What an alias is to mean.</summary>
/// <param name="Version">A version's number.</param>
/// <param name="Force">Though a gate does not hold; needs a reason.</param>
/// <param name="Reason">Why.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record AliasRequest(int Version, bool Force = false, string? Reason = null);

/// <summary>Where an alias is to go back to.</summary>
/// <param name="Reason">Why.</param>
/// <param name="To">A version further back; the one before, if it is left out.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record RollbackRequest(string? Reason, int? To = null);

/// <summary>Where a model's backbone lies now.</summary>
/// <param name="Path">The folder, as the workers see it too.</param>
/// <param name="Version">Of which version; of the champion, else the newest, if it is left out.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record BackboneRequest(string Path, int? Version = null);

/// <summary>A version's new notes and tags.</summary>
/// <param name="Notes">Null to leave them.</param>
/// <param name="Tags">Null to leave them.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record DescribeRequest(string? Notes, IReadOnlyList<string>? Tags);

/// <summary>What evidence is wanted on.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record EvidenceRequest
{
    /// <summary>NAME, NAME@ALIAS or NAME@VERSION.</summary>
    public required string Model { get; init; }

    /// <summary>With the response: the score that is asked about.</summary>
    public string? Prompt { get; init; }

    /// <summary>The response that was scored.</summary>
    public string? Response { get; init; }
}
