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
}

/// <summary>
/// Whether two scores differ by more than rounding. Features and weights are float32 (2⁻²⁴ relative) and a score is a sum over
/// thousands of them; differences within 2⁻²⁰ (about 1e-6) of the magnitudes say nothing of the responses, and are ties.
/// </summary>
public static class ScoreDifference
{
    /// <summary>Of the sum of both magnitudes.</summary>
    public const double Tolerance = 1.0 / (1 << 20);

    public static bool IsTie(Scored a, Scored b) => Math.Abs(a.Value - b.Value) <= Tolerance * (a.Magnitude + b.Magnitude);

    /// <summary>True where the first is higher, and they do not tie.</summary>
    public static bool IsHigher(Scored a, Scored b) => a.Value > b.Value && !IsTie(a, b);
}
