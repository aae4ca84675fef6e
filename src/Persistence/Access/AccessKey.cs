using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Access;

/// <summary>A key to the API. Its secret is shown once and not kept; what is kept is its hash.</summary>
public sealed class AccessKey
{
    /// <summary>The part of the key that is no secret.</summary>
    public string Id { get; set; } = "";
    public string Name { get; set; } = "";
    public Scope Scope { get; set; }

    /// <summary>
    /// Lower-case hex sha256 of the secret, which is 256 random bits: there is nothing to guess, and no need to hash slowly.
    /// </summary>
    public string Hash { get; set; } = "";
    public DateTimeOffset CreatedAt { get; set; }
    public string CreatedBy { get; set; } = "";
    public DateTimeOffset? ExpiresAt { get; set; }
    public DateTimeOffset? LastUsedAt { get; set; }
    public DateTimeOffset? RevokedAt { get; set; }

    public bool IsUsable(DateTimeOffset now) => RevokedAt is null && !(ExpiresAt <= now);
}
