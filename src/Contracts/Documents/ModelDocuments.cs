using ArmoFlow.Contracts.Alerts;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Contracts.Documents;

/// <summary>A model's name with what its versions and aliases are now.</summary>
public sealed record ModelSummary(
    string Model,
    int Versions,
    int Newest,
    DateTimeOffset CreatedAt,
    IReadOnlyDictionary<string, int> Aliases);

/// <summary>A version with the figures that promotions look at.</summary>
/// <param name="Version">The version.</param>
/// <param name="Score">Its benchmark score.</param>
/// <param name="HeldOutAccuracy">Its accuracy on held-out pairs.</param>
/// <param name="Aliases">What means it now.</param>
/// <param name="Usable">True if everything that scoring needs is there, as far as this process can see.</param>
/// <param name="Missing">What is not, and the remedy.</param>
/// <param name="NoSignal">Why its scores mean nothing, and with them its figures; null where they mean something.</param>
public sealed record VersionDocument(ModelVersionDocument Version, double? Score, double? HeldOutAccuracy, IReadOnlyList<string> Aliases,
    bool Usable = true, IReadOnlyList<string>? Missing = null, string? NoSignal = null);

/// <summary>A promotion that was asked for: what the gates said, and what came of it.</summary>
/// <param name="Model">The model.</param>
/// <param name="Alias">The alias.</param>
/// <param name="Version">The version that the alias was to mean.</param>
/// <param name="Promoted">True if it does now.</param>
/// <param name="Forced">True if it does although a gate did not hold.</param>
/// <param name="Verdicts">Of each gate of the model's policy and of the version's own spec, the stricter of both.</param>
/// <param name="Waiting">Who has asked for it, while it waits for others to ask too (approvals).</param>
public sealed record Promotion(
    string Model,
    string Alias,
    int Version,
    bool Promoted,
    bool Forced,
    IReadOnlyList<GateVerdict> Verdicts,
    IReadOnlyList<string>? Waiting = null);

/// <summary>What one gate says of a candidate.</summary>
/// <param name="Gate">The gate, as the spec names it.</param>
/// <param name="Holds">True if it lets the candidate pass.</param>
/// <param name="Found">The candidate's figure; null if its run has none.</param>
/// <param name="Bound">What is allowed.</param>
/// <param name="Detail">In words.</param>
public sealed record GateVerdict(string Gate, bool Holds, double? Found, double Bound, string Detail);

/// <summary>What a run's gates say of it.</summary>
/// <param name="RunId">The run.</param>
/// <param name="IsJudged">False while that is still to be found out.</param>
/// <param name="Holds">True if all hold; null while that is not known.</param>
/// <param name="Verdicts">Of each gate; none where neither the spec nor the model's policy has gates.</param>
public sealed record RunGates(Guid RunId, bool IsJudged, bool? Holds, IReadOnlyList<GateVerdict> Verdicts);

/// <summary>Where a model's backbone lies now.</summary>
public sealed record PlacedBackbone(string Model, string Digest, string Path);

/// <summary>Where a backbone is said to lie.</summary>
/// <param name="Digest">Its sha256.</param>
/// <param name="Path">The folder, as the workers see it.</param>
public sealed record BackbonePlace(string Digest, string Path);

/// <summary>What a completed run made, under its spec's name. Runs that make the same bytes share a version.</summary>
public sealed record ModelVersionDocument
{
    /// <summary>The name.</summary>
    public required string Model { get; init; }

    /// <summary>1 for the first of its name.</summary>
    public required int Version { get; init; }

    /// <summary>The run that made it first.</summary>
    public required Guid RunId { get; init; }

    /// <summary>
    /// Hash over the hashes of its parts: regression, decorrelation, gating, and the features' report, which names the backbone.
    /// </summary>
    public required string Digest { get; init; }

    /// <summary>When it was entered.</summary>
    public required DateTimeOffset CreatedAt { get; init; }

    /// <summary>What people wrote about it.</summary>
    public required string? Notes { get; init; }

    /// <summary>Words to find it by.</summary>
    public required IReadOnlyList<string> Tags { get; init; }

    /// <summary>
    /// The alias that its spec's rule (promotion.automatic) is still to be held against; null where there is no rule, or it was.
    /// </summary>
    public required string? AwaitsAlias { get; init; }

    /// <summary>The gates of all specs that made these bytes, the stricter of each; null where the spec of its run says all.</summary>
    public required PromotionSpec? Gates { get; init; }
}

/// <summary>
/// What a model asks of its versions from a time on, whatever their specs say. The newest row counts; none is ever altered.
/// </summary>
public sealed record ModelPolicyDocument
{
    /// <summary>The model.</summary>
    public required string Model { get; init; }

    /// <summary>1 for the model's first.</summary>
    public required int Version { get; init; }

    /// <summary>Null where the policy was removed.</summary>
    public required PolicySpec? Policy { get; init; }

    /// <summary>Who set it.</summary>
    public required string SetBy { get; init; }

    /// <summary>When.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Why.</summary>
    public required string Reason { get; init; }
}

/// <summary>
/// That an alias meant a version from a time on, as it was known from a time on. Nothing is overwritten: what turns out to be
/// otherwise is known until then, and a new row is known from then.
/// </summary>
public sealed record AliasPeriodDocument
{
    /// <summary>The period's number.</summary>
    public required long Id { get; init; }

    /// <summary>The model.</summary>
    public required string Model { get; init; }

    /// <summary>The alias.</summary>
    public required string Alias { get; init; }

    /// <summary>The version.</summary>
    public required int Version { get; init; }

    /// <summary>Since when it meant it.</summary>
    public required DateTimeOffset ValidFrom { get; init; }

    /// <summary>Until when the alias meant the version; null while it does.</summary>
    public required DateTimeOffset? ValidUntil { get; init; }

    /// <summary>Since when it is known.</summary>
    public required DateTimeOffset KnownFrom { get; init; }

    /// <summary>Until when this was what was known; null while it is.</summary>
    public required DateTimeOffset? KnownUntil { get; init; }

    /// <summary>Who decided.</summary>
    public required string DecidedBy { get; init; }

    /// <summary>Why; null where nobody said.</summary>
    public required string? Reason { get; init; }

    /// <summary>The gates' verdicts that the decision stood on, as JSON.</summary>
    public required string Evidence { get; init; }

    /// <summary>
    /// In an answer: the event of the audit trail that vouches for it; null where none does, or it is not what the event says.
    /// </summary>
    public required long? ProvedBy { get; init; }

    /// <summary>In an answer: why no event proves it; null where one does.</summary>
    public required string? Disagrees { get; init; }
}

/// <summary>What a run that evaluated a stored model says of it.</summary>
public sealed record ModelEvaluationDocument
{
    /// <summary>The run that evaluated it.</summary>
    public required Guid RunId { get; init; }

    /// <summary>The model.</summary>
    public required string Model { get; init; }

    /// <summary>Its version.</summary>
    public required int Version { get; init; }

    /// <summary>When the run ended.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>The benchmark score, from 0 to 1; null where there was no benchmark.</summary>
    public required double? Score { get; init; }

    /// <summary>Share of held-out pairs whose better response scored higher; null where there were none.</summary>
    public required double? HeldOutAccuracy { get; init; }

    /// <summary>False where a gate does not hold, or the run did not come to figures; null until that is known.</summary>
    public required bool? Holds { get; init; }

    /// <summary>The gates' verdicts, as JSON.</summary>
    public required string Verdicts { get; init; }

    /// <summary>Why the run failed; null where it did not.</summary>
    public required string? Error { get; init; }
}

/// <summary>
/// That a stored model fell below its gates, or a new version was refused by the rule of its spec, and whether who is to know has
/// been told.
/// </summary>
public sealed record ModelAlertDocument
{
    /// <summary>The alert's number.</summary>
    public required long Id { get; init; }

    /// <summary>What happened.</summary>
    public required AlertKind Kind { get; init; }

    /// <summary>The evaluation, or the run that made the version.</summary>
    public required Guid RunId { get; init; }

    /// <summary>The model.</summary>
    public required string Model { get; init; }

    /// <summary>Its version.</summary>
    public required int Version { get; init; }

    /// <summary>When it was raised.</summary>
    public required DateTimeOffset RaisedAt { get; init; }

    /// <summary>What it says.</summary>
    public required string Text { get; init; }

    /// <summary>Where it is posted to; null for nowhere.</summary>
    public required string? Webhook { get; init; }

    /// <summary>How often it was posted.</summary>
    public required int Attempts { get; init; }

    /// <summary>When it is posted again; null once it has arrived, or is given up.</summary>
    public required DateTimeOffset? NextAttemptAt { get; init; }

    /// <summary>When it arrived; null where it has not.</summary>
    public required DateTimeOffset? DeliveredAt { get; init; }

    /// <summary>Why it did not arrive the last time; null where it did.</summary>
    public required string? LastError { get; init; }
}
