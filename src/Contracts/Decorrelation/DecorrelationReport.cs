namespace ArmoFlow.Contracts.Decorrelation;

/// <summary>What the decorrelation found; also the step's figures in the run's document.</summary>
public sealed record DecorrelationReport
{
    /// <summary>The objective that rates length.</summary>
    public string? Verbosity { get; init; }

    /// <summary>spearman or pearson.</summary>
    public string? Metric { get; init; }

    /// <summary>The preference source whose responses the correlations are over.</summary>
    public string? Reference { get; init; }

    /// <summary>How many responses these are.</summary>
    public int Responses { get; init; }

    /// <summary>One penalty for each objective, in the spec's order.</summary>
    public IReadOnlyList<PenaltyFigures> Objectives { get; init; } = [];
}

/// <summary>The penalty of one objective, and what it did to the correlation with verbosity.</summary>
public sealed record PenaltyFigures
{
    /// <summary>The objective.</summary>
    public required string Name { get; init; }

    /// <summary>λ: how much of the verbosity reward is taken off.</summary>
    public double Penalty { get; init; }

    /// <summary>Correlation with verbosity without the penalty.</summary>
    public double Before { get; init; }

    /// <summary>Correlation with verbosity with the penalty.</summary>
    public double After { get; init; }

    /// <summary>
    /// Where no penalty meets the tolerance: neighbouring float32 penalties between which the correlation changes its sign.
    /// </summary>
    public CrossingFigures? Proof { get; init; }
}

/// <summary>Two neighbouring float32 penalties between which the correlation changes its sign.</summary>
/// <param name="LowerPenalty">The lower one.</param>
/// <param name="CorrelationThere">The correlation with it.</param>
/// <param name="UpperPenalty">The upper one.</param>
/// <param name="CorrelationHere">The correlation with it.</param>
public sealed record CrossingFigures(double LowerPenalty, double CorrelationThere, double UpperPenalty, double CorrelationHere);
