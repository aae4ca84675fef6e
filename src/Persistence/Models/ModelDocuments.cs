using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Models;

/// <summary>Rows as HTTP and <c>--json</c> show them.</summary>
public static class ModelDocuments
{
    public static ModelVersionDocument ToDocument(this ModelVersion version) => new()
    {
        Model = version.Model,
        Version = version.Version,
        RunId = version.RunId,
        Digest = version.Digest,
        CreatedAt = version.CreatedAt,
        Notes = version.Notes,
        Tags = version.Tags,
        AwaitsAlias = version.AwaitsAlias,
        Gates = version.Gates,
    };

    public static ModelPolicyDocument ToDocument(this ModelPolicy policy) => new()
    {
        Model = policy.Model,
        Version = policy.Version,
        Policy = policy.Policy,
        SetBy = policy.SetBy,
        At = policy.At,
        Reason = policy.Reason,
    };

    public static AliasPeriodDocument ToDocument(this AliasPeriod period) => new()
    {
        Id = period.Id,
        Model = period.Model,
        Alias = period.Alias,
        Version = period.Version,
        ValidFrom = period.ValidFrom,
        ValidUntil = period.ValidUntil,
        KnownFrom = period.KnownFrom,
        KnownUntil = period.KnownUntil,
        DecidedBy = period.DecidedBy,
        Reason = period.Reason,
        Evidence = period.Evidence,
        ProvedBy = period.ProvedBy,
        Disagrees = period.Disagrees,
    };
}
