namespace ArmoFlow.Contracts.Regression;

/// <summary>What the regression found; also the step's figures in the run's document.</summary>
public sealed record RegressionReport
{
    /// <summary>One fit for each objective, in the spec's order.</summary>
    public IReadOnlyList<ObjectiveFigures> Objectives { get; init; } = [];
}

/// <summary>How the linear reward of one objective was fitted.</summary>
public sealed record ObjectiveFigures
{
    /// <summary>The objective.</summary>
    public required string Name { get; init; }

    /// <summary>Rows that rate it.</summary>
    public long Rows { get; init; }

    /// <summary>How many of them are held out while α is chosen.</summary>
    public long HeldOutRows { get; init; }

    /// <summary>The α that was chosen.</summary>
    public double Alpha { get; init; }

    /// <summary>Mean squared error on held-out rows; null where none is held out.</summary>
    public double? ValidationMse { get; init; }

    /// <summary>R² on held-out rows; null where none is held out.</summary>
    public double? ValidationR2 { get; init; }

    /// <summary>Every α that was tried, in the order given.</summary>
    public IReadOnlyList<AlphaFigures> Alphas { get; init; } = [];

    /// <summary>What a reader should know of this fit; null for nothing.</summary>
    public string? Note { get; init; }
}

/// <summary>One α of the grid.</summary>
/// <param name="Alpha">The α.</param>
/// <param name="Mse">Mean squared error on held-out rows; null where none is held out.</param>
public sealed record AlphaFigures(double Alpha, double? Mse);
