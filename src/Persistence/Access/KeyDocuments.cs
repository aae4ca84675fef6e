using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Access;

/// <summary>Keys as they are shown.</summary>
public static class KeyDocuments
{
    public static KeyDocument ToDocument(this AccessKey key) => new()
    {
        Id = key.Id,
        Name = key.Name,
        Scope = key.Scope,
        CreatedAt = key.CreatedAt,
        CreatedBy = key.CreatedBy,
        ExpiresAt = key.ExpiresAt,
        LastUsedAt = key.LastUsedAt,
        RevokedAt = key.RevokedAt,
    };
}
