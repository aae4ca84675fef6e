using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

/// <summary>A key to the API, without its secret.</summary>
public sealed record KeyDocument
{
    /// <summary>The part of the key that is no secret.</summary>
    public required string Id { get; init; }

    /// <summary>Whose it is; the audit trail names it.</summary>
    public required string Name { get; init; }

    /// <summary>What its holder may do.</summary>
    public required Scope Scope { get; init; }

    /// <summary>When it was made.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>By whom.</summary>
    public required string CreatedBy { get; init; }

    /// <summary>Null for never.</summary>
    public required DateTimeOffset? ExpiresAt { get; init; }

    /// <summary>To the minute; null for never.</summary>
    public required DateTimeOffset? LastUsedAt { get; init; }

    /// <summary>Null while it was not.</summary>
    public required DateTimeOffset? RevokedAt { get; init; }

    /// <summary>True while it opens what its scope allows.</summary>
    public bool IsUsable(DateTimeOffset now) => RevokedAt is null && !(ExpiresAt <= now);
}

/// <summary>A key to make.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record KeyRequest
{
    /// <summary>Whose it is; the audit trail names it.</summary>
    public required string Name { get; init; }

    /// <summary>What its holder may do.</summary>
    public Scope Scope { get; init; } = Scope.Viewer;

    /// <summary>How long it is good for; null for ever.</summary>
    public double? Days { get; init; }
}

/// <summary>A key that was made.</summary>
/// <param name="Id">The part of it that is no secret.</param>
/// <param name="Name">Whose it is.</param>
/// <param name="Scope">What its holder may do.</param>
/// <param name="ExpiresAt">Null for never.</param>
/// <param name="Key">The key itself: it is not kept, and not shown again.</param>
public sealed record NewKey(string Id, string Name, Scope Scope, DateTimeOffset? ExpiresAt, string Key);
