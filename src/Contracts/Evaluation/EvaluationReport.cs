namespace ArmoFlow.Contracts.Evaluation;

/// <summary>What the evaluation found; also the step's figures in the run's document.</summary>
public sealed record EvaluationReport
{
    /// <summary>The scorer that is the model itself.</summary>
    public const string Gate = "gate";

    /// <summary>What the figures depend on.</summary>
    public EvaluationManifest? Manifest { get; init; }

    /// <summary>'gate', and the baselines that were asked for.</summary>
    public IReadOnlyDictionary<string, ScorerFigures> Scorers { get; init; } = new Dictionary<string, ScorerFigures>();

    /// <summary>α that the Bradley–Terry head settled on; null where it was not asked for.</summary>
    public double? BradleyTerryAlpha { get; init; }
}

/// <summary>What an evaluation depends on: two are comparable pair by pair where the first three are the same.</summary>
public sealed record EvaluationManifest
{
    /// <summary>sha256 of the canonical benchmark.</summary>
    public string? BenchmarkDigest { get; init; }

    /// <summary>Its pairs.</summary>
    public int BenchmarkPairs { get; init; }

    /// <summary>Pairs over the token limit, which are not scored.</summary>
    public int LeftOut { get; init; }

    /// <summary>sha256 of the backbone.</summary>
    public string? BackboneDigest { get; init; }

    /// <summary>The chat template's name.</summary>
    public string? Template { get; init; }

    /// <summary>The type that features were computed in.</summary>
    public string? Dtype { get; init; }

    /// <summary>The longest conversation, in tokens.</summary>
    public int MaxTokens { get; init; }

    /// <summary>True for another evaluation of the same benchmark pairs.</summary>
    public bool IsOfTheSamePairs(EvaluationManifest other) =>
        (BenchmarkDigest, BenchmarkPairs, LeftOut) == (other.BenchmarkDigest, other.BenchmarkPairs, other.LeftOut);
}

/// <summary>One scorer's results: on held-out preference pairs, and on the benchmark.</summary>
/// <param name="HeldOutAccuracy">Share of held-out pairs whose chosen response scores higher; null where there are none.</param>
/// <param name="Benchmark">Null where there is none.</param>
/// <param name="HeldOutTies">Held-out pairs that tie; null where they are not counted.</param>
public sealed record ScorerFigures(double? HeldOutAccuracy, BenchmarkFigures? Benchmark, int? HeldOutTies = null);

/// <summary>Accuracies by subset and section, and the weighted mean of the sections; all in [0, 1].</summary>
public sealed record BenchmarkFigures
{
    /// <summary>By subset.</summary>
    public SortedDictionary<string, SubsetFigures> Subsets { get; init; } = [];

    /// <summary>Section → accuracy.</summary>
    public Dictionary<string, double> Sections { get; init; } = [];

    /// <summary>Section → subset that has data → its weight within the section.</summary>
    public Dictionary<string, Dictionary<string, double>> SubsetWeights { get; init; } = [];

    /// <summary>Weight of each section in the score.</summary>
    public Dictionary<string, double> Weights { get; init; } = [];

    /// <summary>The score; null where no section has data.</summary>
    public double? Score { get; init; }

    /// <summary>Pairs of all subsets that tie.</summary>
    public long Ties { get; init; }

    /// <summary>Sections without data, which the score leaves out.</summary>
    public IReadOnlyList<string> LeftOut { get; init; } = [];

    /// <summary>Subsets that belong to no section: reported, but not in the score.</summary>
    public IReadOnlyList<string> OutsideSections { get; init; } = [];
}

/// <summary>What a scorer did on one subset.</summary>
/// <param name="Accuracy">Correct / Count.</param>
/// <param name="Correct">Pairs whose chosen response scores higher, by more than rounding.</param>
/// <param name="Count">Pairs.</param>
/// <param name="Ties">Pairs whose two sides score the same but for rounding: not correct.</param>
public sealed record SubsetFigures(double Accuracy, long Correct, long Count, long Ties = 0);
