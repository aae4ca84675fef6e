using ArmoFlow.RewardModel.Decorrelation;

namespace ArmoFlow.RewardModel.Gating;

/// <summary>What shows that a gate works at all; each would have exposed a gate that learns nothing.</summary>
public sealed record GateHealth
{
    /// <summary>Largest distance of a prompt's coefficient sum from 1.</summary>
    public required double LargestSumError { get; init; }

    /// <summary>Mean entropy of the coefficients, over ln k: 1 is uniform, 0 a single objective.</summary>
    public required double MeanEntropy { get; init; }

    /// <summary>Mean over objectives of the coefficient's standard deviation over prompts: 0 for a gate that ignores the prompt.</summary>
    public required double SpreadOverPrompts { get; init; }

    /// <summary>Objectives whose coefficient is below 0.01 on every prompt.</summary>
    public required IReadOnlyList<string> Dead { get; init; }

    /// <summary>Objectives whose coefficient is above 0.99 on nine prompts of ten.</summary>
    public required IReadOnlyList<string> Saturated { get; init; }

    /// <summary>Spearman's correlation of the final score with the raw verbosity reward.</summary>
    public required double VerbosityCorrelation { get; init; }

    /// <summary>Share of the pairs whose two sides score the same but for rounding.</summary>
    public double Ties { get; init; }

    /// <summary>Said first wherever figures of this gate are shown: its scores mean nothing. Null for a gate that scores.</summary>
    public string? NoSignal { get; init; }

    /// <summary>What of the above is out of bounds, in words; empty for a healthy gate.</summary>
    public required IReadOnlyList<string> Warnings { get; init; }

    /// <summary>The largest <see cref="LargestSumError"/> of a healthy gate.</summary>
    public const double SumTolerance = 1e-6;

    /// <summary>The smallest <see cref="SpreadOverPrompts"/> of a healthy gate.</summary>
    public const double FlatBelow = 1e-3;

    /// <summary>The largest absolute <see cref="VerbosityCorrelation"/> of a healthy gate.</summary>
    public const double LengthBias = 0.5;

    private const double DeadBelow = 0.01, SaturatedAbove = 0.99, SaturatedShare = 0.9, CollapsedAbove = 0.5;
    private const double Z95 = 1.959963984540054; // the normal distribution's 97.5 % point
    private const int FewestForChance = 100; // of fewer held-out pairs an accuracy says little either way

    /// <summary>Examines a gate by what it makes of preference pairs.</summary>
    /// <param name="scores">The gate's scores of all pairs.</param>
    /// <param name="names">The k objectives.</param>
    /// <param name="verbosity">Raw verbosity rewards of the chosen, then of the rejected responses.</param>
    /// <param name="heldOut">The held-out pairs.</param>
    public static GateHealth Examine(PairScores scores, IReadOnlyList<string> names, double[] verbosity, IReadOnlyList<int> heldOut) =>
        Examine(scores.Coefficients, names, scores.Values, verbosity, scores.TieShare, scores.Accuracy(heldOut), heldOut.Count);

    /// <summary>Examines a gate by its figures.</summary>
    /// <param name="coefficients">[p, k] of distinct prompts.</param>
    /// <param name="names">The k objectives.</param>
    /// <param name="scores">Final scores of responses.</param>
    /// <param name="verbosity">Their raw verbosity rewards.</param>
    /// <param name="ties">Share of the pairs whose two sides tie.</param>
    /// <param name="accuracy">On held-out pairs, if there are any.</param>
    /// <param name="pairs">How many these are.</param>
    public static GateHealth Examine(IReadOnlyList<double[]> coefficients, IReadOnlyList<string> names, double[] scores, double[] verbosity,
        double ties = 0, double? accuracy = null, int pairs = 0)
    {
        int k = names.Count, n = coefficients.Count;
        double sumError = coefficients.Max(c => Math.Abs(c.Sum() - 1));
        double entropy = coefficients.Average(c => c.Sum(p => p > 0 ? -p * Math.Log(p) : 0)) / (k > 1 ? Math.Log(k) : 1);
        double spread = Enumerable.Range(0, k).Average(o =>
        {
            double mean = coefficients.Average(c => c[o]);
            return Math.Sqrt(coefficients.Average(c => (c[o] - mean) * (c[o] - mean)));
        });
        string[] dead = [.. Enumerable.Range(0, k).Where(o => coefficients.All(c => c[o] < DeadBelow)).Select(o => names[o])];
        string[] saturated = [.. Enumerable.Range(0, k)
            .Where(o => coefficients.Count(c => c[o] > SaturatedAbove) > SaturatedShare * n)
            .Select(o => names[o])];
        double correlation = Correlation.Spearman(scores, verbosity);
        List<string> warnings = [];
        if (sumError > SumTolerance) warnings.Add($"coefficients do not sum to 1 (off by up to {sumError:g3})");
        if (spread < FlatBelow && k > 1) warnings.Add("the coefficients hardly depend on the prompt");
        if (dead.Length > 0) warnings.Add($"never used: {string.Join(", ", dead)}");
        if (saturated.Length > 0) warnings.Add($"nearly alone on most prompts: {string.Join(", ", saturated)}");
        if (Math.Abs(correlation) > LengthBias) warnings.Add($"the final score follows verbosity (Spearman {correlation:f2})");
        return new GateHealth
        {
            LargestSumError = sumError,
            MeanEntropy = entropy,
            SpreadOverPrompts = spread,
            Dead = dead,
            Saturated = saturated,
            VerbosityCorrelation = correlation,
            Ties = ties,
            NoSignal = WhyNoSignal(coefficients, names, ties, accuracy, pairs),
            Warnings = warnings,
        };
    }

    /// <summary>What shows that the scores mean nothing; null where nothing does.</summary>
    private static string? WhyNoSignal(IReadOnlyList<double[]> coefficients, IReadOnlyList<string> names, double ties, double? accuracy,
        int pairs)
    {
        const string Start = "the gate found no signal: ",
            Remedy = " Its figures say nothing of the responses. Look at the objectives' held-out R²: "
            + "with values near or below 0 the features do not tell the objectives, so use another backbone or more ratings; else train "
            + "the gate "
            + "longer, or with another seed.";
        if (ties > CollapsedAbove)
        {
            int heaviest = Enumerable.Range(0, names.Count).MaxBy(o => coefficients.Average(c => c[o]));
            double mean = coefficients.Average(c => c[heaviest]);
            return Start
                + FormattableString.Invariant(
                    $"{ties:p0} of the pairs score the same but for rounding (mean coefficient of {names[heaviest]} {mean:f3}).")
                + Remedy;
        }
        if (accuracy is not { } right || pairs < FewestForChance) return null;
        (double low, double high) = Wilson(right, pairs);
        if (low > 0.5) return null;
        return Start
            + FormattableString.Invariant(
                $"right on {right:p1} of {pairs:N0} held-out pairs, no better than chance (95 % interval {low:p1} to {high:p1}).")
            + Remedy;
    }

    /// <summary>Wilson's 95 % interval of a share (Wilson 1927).</summary>
    private static (double Low, double High) Wilson(double share, int count)
    {
        double z2 = Z95 * Z95, middle = share + (z2 / (2 * count)),
            half = Z95 * Math.Sqrt((share * (1 - share) / count) + (z2 / (4.0 * count * count)));
        double scale = 1 + (z2 / count);
        return ((middle - half) / scale, (middle + half) / scale);
    }
}
