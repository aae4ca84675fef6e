using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Retention;

/// <summary>Rows as HTTP and <c>--json</c> show them, and rules as they are asked for.</summary>
public static class RetentionDocuments
{
    public static LegalHoldDocument ToDocument(this LegalHold hold) => new()
    {
        Subject = hold.Subject,
        Reason = hold.Reason,
        By = hold.By,
        At = hold.At,
    };

    public static ExclusionDocument ToDocument(this Exclusion exclusion) => new()
    {
        Kind = exclusion.Kind,
        Value = exclusion.Value,
        Reason = exclusion.Reason,
        By = exclusion.By,
        At = exclusion.At,
        Origin = exclusion.Origin,
        Users = exclusion.Users,
        LiftedAt = exclusion.LiftedAt,
        LiftedBy = exclusion.LiftedBy,
        LiftedReason = exclusion.LiftedReason,
    };

    /// <exception cref="RetentionException">The figures cannot be so.</exception>
    public static RetentionRules ToRules(this RulesRequest request) =>
        request is { OlderThanDays: >= 0 and <= 36500, KeepLast: >= 0 }
            ? new RetentionRules(TimeSpan.FromDays(request.OlderThanDays), request.KeepLast)
            : throw new RetentionException($"older than {request.OlderThanDays} days, keep last {request.KeepLast}: expected days from "
                + "0 to 36500, and a count of at least 0.");
}
