namespace ArmoFlow.RewardModel.Scoring;

/// <summary>A score, and the size of what it is made of.</summary>
/// <param name="Value">The score.</param>
/// <param name="Magnitude">
/// The sum of the absolute values of all that was added and subtracted on the way to it. Where a term cancels another, as verbosity's own
/// reward does, what is left is rounding of about this size times the precision of float32.
/// </param>
public readonly record struct Scored(double Value, double Magnitude)
{
    /// <summary>True where the score cannot be told from 0: it says nothing.</summary>
    public bool IsNothing => Math.Abs(Value) <= ScoreDifference.Tolerance * Magnitude;

    /// <summary>One objective's part in a score, β g r' (paper, section 3.2).</summary>
    internal static double Contribution(double beta, double coefficient, double debiased) => beta * coefficient * debiased;

    /// <summary>The score Σ β g r' over the objectives (paper, section 3.2).</summary>
    /// <param name="beta">β, the scale of the released layout.</param>
    /// <param name="coefficients">g, the gate's coefficients for the prompt [k].</param>
    /// <param name="debiased">r' of the response [k].</param>
    /// <param name="magnitudes">The size of what each r' is made of [k].</param>
    internal static Scored Gated(double beta, ReadOnlySpan<double> coefficients, ReadOnlySpan<double> debiased,
        ReadOnlySpan<double> magnitudes)
    {
        double value = 0, magnitude = 0;
        for (int o = 0; o < coefficients.Length; o++)
        {
            value += Contribution(beta, coefficients[o], debiased[o]);
            magnitude += Math.Abs(beta * coefficients[o]) * magnitudes[o];
        }
        return new Scored(value, magnitude);
    }

    /// <summary>The mean of r' over the objectives: the baseline without a gate.</summary>
    internal static Scored Mean(ReadOnlySpan<double> debiased, ReadOnlySpan<double> magnitudes)
    {
        double value = 0, magnitude = 0;
        for (int o = 0; o < debiased.Length; o++)
        {
            value += debiased[o];
            magnitude += magnitudes[o];
        }
        return new Scored(value / debiased.Length, magnitude / debiased.Length);
    }
}

/// <summary>
/// Whether two scores differ by more than rounding. Features and weights are float32 (2⁻²⁴ relative) and a score is a sum over
/// thousands of them; differences within 2⁻²⁰ (about 1e-6) of the magnitudes say nothing of the responses, and are ties.
/// </summary>
public static class ScoreDifference
{
    /// <summary>The largest difference that is still a tie, as a share of the sum of both magnitudes.</summary>
    public const double Tolerance = 1.0 / (1 << 20);

    /// <summary>True where two scores differ by no more than rounding.</summary>
    /// <param name="a">One score.</param>
    /// <param name="b">The other.</param>
    public static bool IsTie(Scored a, Scored b) => Math.Abs(a.Value - b.Value) <= Tolerance * (a.Magnitude + b.Magnitude);

    /// <summary>True where the first is higher, and they do not tie.</summary>
    /// <param name="a">The first score.</param>
    /// <param name="b">The second.</param>
    public static bool IsHigher(Scored a, Scored b) => a.Value > b.Value && !IsTie(a, b);

    /// <summary>Share of pairs whose chosen response scores higher, by more than rounding; null for no pairs.</summary>
    /// <param name="pairs">The pairs to count.</param>
    /// <param name="chosen">The score of a pair's chosen response.</param>
    /// <param name="rejected">The score of its rejected response.</param>
    public static double? Accuracy(IReadOnlyCollection<int> pairs, Func<int, Scored> chosen, Func<int, Scored> rejected)
    {
        if (pairs.Count == 0) return null;
        return pairs.Count(i => IsHigher(chosen(i), rejected(i))) / (double)pairs.Count;
    }
}
