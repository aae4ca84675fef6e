using System.Text.Json.Serialization;
using ArmoFlow.Contracts.Scoring;

namespace ArmoFlow.Contracts.Documents;

/// <summary>What to score: turns that end with the assistant's, or a prompt and a response.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ScoreInput(IReadOnlyList<ChatTurn>? Messages = null, string? Prompt = null, string? Response = null);

/// <summary>Two responses to one prompt.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record PairInput
{
    /// <summary>The user's prompt.</summary>
    public required string Prompt { get; init; }

    /// <summary>The response that should score higher.</summary>
    public required string Chosen { get; init; }

    /// <summary>The other.</summary>
    public required string Rejected { get; init; }
}

/// <summary>A request for scores by one model.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
public sealed record ScoreRequest
{
    /// <summary>NAME, NAME@ALIAS or NAME@VERSION; or else a run.</summary>
    public string? Model { get; init; }

    /// <summary>The run that trained the model; null to go by the model.</summary>
    public Guid? Run { get; init; }

    /// <summary>Single responses.</summary>
    public IReadOnlyList<ScoreInput> Items { get; init; } = [];

    /// <summary>Pairs of responses.</summary>
    public IReadOnlyList<PairInput> Pairs { get; init; } = [];

    /// <summary>One response, without a list.</summary>
    public string? Prompt { get; init; }

    /// <summary>The response to the prompt.</summary>
    public string? Response { get; init; }

    /// <summary>OBJ=W fixes a coefficient, OBJ=*F scales it.</summary>
    public IReadOnlyList<string> Steer { get; init; } = [];

    /// <summary>False to leave the objectives' parts out.</summary>
    public bool Explain { get; init; } = true;
}

/// <param name="Score">The sum of the contributions.</param>
/// <param name="Objectives">What adds up to it; null where no explanation was asked for.</param>
/// <param name="Rounding">Two scores that differ by no more than both of theirs together differ by rounding alone.</param>
public sealed record ScoreOutput(double Score, IReadOnlyList<ScoredObjective>? Objectives, double Rounding);

/// <param name="Chosen">The chosen response.</param>
/// <param name="Rejected">The rejected response.</param>
/// <param name="ChosenWins">True where the chosen one scores higher, by more than rounding.</param>
/// <param name="Tied">True where the two differ by rounding alone.</param>
public sealed record PairOutput(ScoreOutput Chosen, ScoreOutput Rejected, bool ChosenWins, bool Tied);

/// <summary>Scores in the order of the items and pairs, and what scored them.</summary>
/// <param name="Model">The model.</param>
/// <param name="Version">Its version; null for a run that was named itself.</param>
/// <param name="RunId">The run that trained it.</param>
/// <param name="Scores">Of the items.</param>
/// <param name="Pairs">Of the pairs.</param>
/// <param name="NoSignal">Why the model's scores mean nothing; null where they mean something.</param>
public sealed record ScoreAnswer(string Model, int? Version, Guid RunId, IReadOnlyList<ScoreOutput> Scores,
    IReadOnlyList<PairOutput> Pairs, string? NoSignal);

/// <summary>
/// What OpenRLHF's trainers send to --remote_rm_url: prompts and responses as the chat template renders them. Some of its versions send
/// more beside them, which is not read.
/// </summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Skip)]
public sealed record RewardRequest
{
    /// <summary>Prompts with their responses, as the chat template renders them.</summary>
    public required IReadOnlyList<string> Query { get; init; }
}

/// <summary>What they read: rewards to train on, scores to filter by, figures to log.</summary>
public sealed record RewardAnswer
{
    /// <summary>One for each query, in their order.</summary>
    public required IReadOnlyList<double> Rewards { get; init; }

    /// <summary>The same numbers.</summary>
    public required IReadOnlyList<double> Scores { get; init; }

    /// <summary>Each objective's rewards, by its name.</summary>
    [JsonPropertyName("extra_logs")]
    public required IReadOnlyDictionary<string, IReadOnlyList<double>> ExtraLogs { get; init; }
}
