namespace ArmoFlow.Contracts.Gating;

/// <summary>What training the gate came to; also the step's figures in the run's document.</summary>
public sealed record GatingReport
{
    /// <summary>What it was trained with.</summary>
    public GatingFigures? Options { get; init; }

    /// <summary>Pairs that it was trained on.</summary>
    public int TrainingPairs { get; init; }

    /// <summary>Pairs with prompts that it was never trained on.</summary>
    public int HeldOutPairs { get; init; }

    /// <summary>Pairs whose two prompts fall on different sides of the split: neither trained on nor counted.</summary>
    public int Straddling { get; init; }

    /// <summary>Share of the training pairs whose chosen response scores higher.</summary>
    public double? TrainingAccuracy { get; init; }

    /// <summary>The same of the held-out pairs; null where there are none.</summary>
    public double? HeldOutAccuracy { get; init; }

    /// <summary>The scale β of the scores at the end.</summary>
    public double Beta { get; init; }

    /// <summary>Mean loss over each 50 steps, in nats.</summary>
    public IReadOnlyList<double> LossCurve { get; init; } = [];

    /// <summary>By source of pairs.</summary>
    public SortedDictionary<string, SourceFigures> Sources { get; init; } = [];

    /// <summary>What shows that the gate works at all.</summary>
    public HealthFigures? Health { get; init; }
}

/// <summary>The options that the gate was trained with.</summary>
public sealed record GatingFigures(
    int Steps,
    int BatchSize,
    double LearningRate,
    double Beta,
    double Temperature,
    IReadOnlyList<int> Hidden,
    ulong Seed);

/// <summary>What the gate does on the pairs of one source.</summary>
/// <param name="Pairs">The source's pairs.</param>
/// <param name="HeldOut">How many of them are held out.</param>
/// <param name="HeldOutAccuracy">Share of these whose chosen response scores higher; null where none is held out.</param>
/// <param name="MeanCoefficients">Objective → mean of its coefficient over the prompts of the source's pairs.</param>
public sealed record SourceFigures(
    int Pairs,
    int HeldOut,
    double? HeldOutAccuracy,
    IReadOnlyDictionary<string, double> MeanCoefficients);

/// <summary>What shows that a gate works at all.</summary>
public sealed record HealthFigures
{
    /// <summary>Largest distance of a prompt's coefficient sum from 1.</summary>
    public double? LargestSumError { get; init; }

    /// <summary>Mean entropy of the coefficients, over ln k: 1 is uniform, 0 a single objective.</summary>
    public double? MeanEntropy { get; init; }

    /// <summary>Mean over objectives of the coefficient's standard deviation over prompts.</summary>
    public double? SpreadOverPrompts { get; init; }

    /// <summary>Objectives whose coefficient is near 0 on every prompt.</summary>
    public IReadOnlyList<string> Dead { get; init; } = [];

    /// <summary>Objectives whose coefficient is near 1 on nearly every prompt.</summary>
    public IReadOnlyList<string> Saturated { get; init; } = [];

    /// <summary>Spearman's correlation of the final score with the raw verbosity reward; null in runs of before it was measured.</summary>
    public double? VerbosityCorrelation { get; init; }

    /// <summary>Share of the pairs whose two sides score the same but for rounding; null in runs of before it was counted.</summary>
    public double? Ties { get; init; }

    /// <summary>Why the gate's scores mean nothing, with the remedy; null for a gate that scores.</summary>
    public string? NoSignal { get; init; }

    /// <summary>What of the above is out of bounds, in words; empty for a healthy gate.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];
}
