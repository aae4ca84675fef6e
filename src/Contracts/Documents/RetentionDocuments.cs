using ArmoFlow.Contracts.Retention;

namespace ArmoFlow.Contracts.Documents;

/// <summary>An artifact that goes, and why nothing keeps it.</summary>
public sealed record Collected(string Sha256, long Bytes, string Why);

/// <summary>What a collection would remove, or has removed.</summary>
/// <param name="DryRun">True if nothing was removed.</param>
/// <param name="Artifacts">What goes.</param>
/// <param name="Bytes">Of all of it.</param>
/// <param name="KeptRuns">How many runs keep their artifacts.</param>
/// <param name="Kept">Why, and how many runs for each reason.</param>
public sealed record Collection(
    bool DryRun,
    IReadOnlyList<Collected> Artifacts,
    long Bytes,
    int KeptRuns,
    IReadOnlyDictionary<string, int> Kept);

/// <summary>The retention policy with its next times.</summary>
public sealed record RetentionPolicyDocument(
    double OlderThanDays,
    int KeepLast,
    string Cron,
    string TimeZone,
    string SetBy,
    DateTimeOffset? LastAt,
    string? LastOutcome,
    IReadOnlyList<DateTimeOffset> Next);

/// <summary>A model's version that was made with something.</summary>
/// <param name="Model">The model.</param>
/// <param name="Version">Its version.</param>
/// <param name="RunId">The run that made it.</param>
/// <param name="IsCertain">False where the table of what the run read is gone (gc), and so nobody can say.</param>
public sealed record UsedBy(string Model, int Version, Guid RunId, bool IsCertain = true);

/// <summary>What forgetting something would do, said before it is done.</summary>
/// <param name="Kind">What kind of thing.</param>
/// <param name="Value">Its id, name or hash.</param>
/// <param name="UsedBy">Every version that was made with it.</param>
/// <param name="Files">Hashes of the files that no run reads from then on, whatever they are called.</param>
/// <param name="Rewritten">Tables of ended runs that are written again without its rows.</param>
/// <param name="Removed">Artifacts that go whole: features that were made with it, and files of data sets.</param>
/// <param name="Stays">What is left of it, and why.</param>
/// <param name="Obstacles">Why it cannot be done now; empty if it can.</param>
public sealed record ForgetPlan(ExclusionKind Kind, string Value, IReadOnlyList<UsedBy> UsedBy, IReadOnlyList<string> Files,
    IReadOnlyList<string> Rewritten, IReadOnlyList<string> Removed, IReadOnlyList<string> Stays, IReadOnlyList<string> Obstacles);

/// <summary>What came of a request to forget something.</summary>
/// <param name="Exclusion">What no run reads from now on.</param>
/// <param name="UsedBy">Every version of a model that was made with it.</param>
/// <param name="Retrains">The runs that make these models anew without it.</param>
/// <param name="Plan">What was rewritten and removed, and what stays.</param>
public sealed record Forgetting(
    ExclusionDocument Exclusion,
    IReadOnlyList<UsedBy> UsedBy,
    IReadOnlyList<Guid> Retrains,
    ForgetPlan? Plan = null);

/// <summary>That something is kept whatever the rules say.</summary>
public sealed record LegalHoldDocument
{
    /// <summary>run/ID or model/NAME.</summary>
    public required string Subject { get; init; }

    /// <summary>Why.</summary>
    public required string Reason { get; init; }

    /// <summary>Who put it.</summary>
    public required string By { get; init; }

    /// <summary>When.</summary>
    public required DateTimeOffset At { get; init; }
}

/// <summary>A conversation, a source or a file that no run reads from now on, unless that was lifted.</summary>
public sealed record ExclusionDocument
{
    /// <summary>What kind of thing is forgotten.</summary>
    public required ExclusionKind Kind { get; init; }

    /// <summary>A conversation's id, a source's name, or a file's sha256.</summary>
    public required string Value { get; init; }

    /// <summary>Why.</summary>
    public required string Reason { get; init; }

    /// <summary>Who asked for it.</summary>
    public required string By { get; init; }

    /// <summary>When.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Of a file: the source that it was forgotten with; null where it was named itself.</summary>
    public required string? Origin { get; init; }

    /// <summary>The versions that were made with it, as it was known when it was forgotten: what told of it is gone since.</summary>
    public required IReadOnlyList<UsedBy>? Users { get; init; }

    /// <summary>When runs were let read it again; null while they are not.</summary>
    public required DateTimeOffset? LiftedAt { get; init; }

    /// <summary>Who did that.</summary>
    public required string? LiftedBy { get; init; }

    /// <summary>Why.</summary>
    public required string? LiftedReason { get; init; }
}
