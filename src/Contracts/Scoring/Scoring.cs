using System.Text.Json.Serialization;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Contracts.Scoring;

/// <summary>
/// Asks a worker for scores by a run's model; it answers with <see cref="ResponsesScored"/>. Its loss harms nothing: who asked asks
/// again.
/// </summary>
public sealed record ScoreResponses
{
    /// <summary>The queue that workers for scoring read.</summary>
    public const string Queue = "scoring";

    /// <summary>The spec of the run that trained the model.</summary>
    public required RunSpec Spec { get; init; }

    /// <summary>The run's artifacts, by name.</summary>
    public required Dictionary<string, ArtifactRef> Artifacts { get; init; }

    /// <summary>What to score.</summary>
    public required IReadOnlyList<ScoreItem> Items { get; init; }

    /// <summary>Coefficients to fix (OBJ=0.5) or scale (OBJ=*2), for all items.</summary>
    public IReadOnlyList<string> Steer { get; init; } = [];
}

/// <summary>A conversation that ends with the response to score: its turns, or the text that the chat template makes of them.</summary>
public sealed record ScoreItem(IReadOnlyList<ChatTurn>? Messages, string? Templated = null)
{
    /// <summary>How long the texts are together.</summary>
    [JsonIgnore]
    public long Characters => (Templated?.Length ?? 0) + (Messages?.Sum(m => (long)m.Content.Length) ?? 0);
}

/// <summary>A turn of a conversation.</summary>
/// <param name="Role">system, user or assistant.</param>
/// <param name="Content">Its text.</param>
public sealed record ChatTurn(string Role, string Content);

/// <summary>One for each item, in their order.</summary>
public sealed record ResponsesScored(IReadOnlyList<ScoredResponse> Scores);

/// <summary>A score with its parts, or the reason why there is none.</summary>
public sealed record ScoredResponse(double? Score, IReadOnlyList<ScoredObjective> Objectives, string? Error = null)
{
    /// <summary>Two scores that differ by no more than both of theirs together differ by rounding alone.</summary>
    public double Rounding { get; init; }

    /// <summary>True where the two scores differ by rounding alone.</summary>
    public bool IsTiedWith(ScoredResponse other) => Math.Abs((Score - other.Score) ?? double.NaN) <= Rounding + other.Rounding;

    /// <summary>True where this is the higher score, by more than rounding.</summary>
    public bool IsAbove(ScoredResponse other) => Score > other.Score && !IsTiedWith(other);
}

/// <summary>One objective's part: contribution = β · coefficient · debiased reward; the contributions sum to the score.</summary>
public sealed record ScoredObjective(string Objective, double Reward, double DebiasedReward, double Coefficient, double Contribution);
