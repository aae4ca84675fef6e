namespace ArmoFlow.RewardModel.Decorrelation;

/// <summary>One objective's penalty and what it did to the correlation with verbosity.</summary>
public sealed record PenaltyFit
{
    public required string Name { get; init; }
    public required double Penalty { get; init; }
    public required double Before { get; init; }
    public required double After { get; init; }

    /// <summary>Where no penalty meets the tolerance: neighbouring float32 penalties between which the correlation jumps over 0.</summary>
    public ZeroCrossing? Proof { get; init; }
}

public sealed record ZeroCrossing(double LowerPenalty, double CorrelationThere, double UpperPenalty, double CorrelationHere);

public sealed record DecorrelationFit(float[] Penalties, float[] Transform, IReadOnlyList<PenaltyFit> Objectives);

/// <summary>
/// λ_i such that Corr(r_i − λ_i r_v, r_v) = 0 on a reference set (paper, equations 2 and 3). Both coefficients fall
/// monotonically with λ: growing it only turns concordant pairs discordant. So the root is bracketed and bisected down to
/// neighbouring float32 values, the type that λ is stored in.
/// </summary>
public static class VerbosityPenalty
{
    public const double Tolerance = 1e-3;
    private const double Exact = 1e-7; // what float32 penalties can hold of a continuous coefficient

    /// <param name="rewards">[n, k] on the reference set.</param>
    /// <param name="names">The k objectives.</param>
    /// <param name="verbosity">Index of r_v.</param>
    /// <param name="metric">Spearman unless asked otherwise.</param>
    /// <param name="progress">Told objectives finished.</param>
    /// <param name="cancel">Looked at between objectives.</param>
    /// <returns>Penalties [k] with λ_v = 1, and M = I − e_v λᵀ [k, k] such that r' = r M.</returns>
    public static DecorrelationFit Fit(double[,] rewards, IReadOnlyList<string> names, int verbosity, CorrelationMetric metric,
        Action<int>? progress = null, CancellationToken cancel = default)
    {
        int k = names.Count;
        double[] reference = Column(rewards, verbosity);
        double[] target = metric == CorrelationMetric.Spearman ? Correlation.Ranks(reference) : reference;
        float[] penalties = new float[k], transform = new float[k * k];
        PenaltyFit[] fits = new PenaltyFit[k];
        int done = 0;
        Parallel.For(0, k, new ParallelOptions { CancellationToken = cancel }, i =>
        {
            fits[i] = i == verbosity
                ? new PenaltyFit { Name = names[i], Penalty = 1, Before = Correlation.Of(metric, reference, reference), After = 0 }
                : Solve(names[i], Column(rewards, i), reference, target, metric);
            progress?.Invoke(Interlocked.Increment(ref done));
        });
        for (int i = 0; i < k; i++)
        {
            penalties[i] = (float)fits[i].Penalty;
            transform[i * k + i] += 1;
            transform[verbosity * k + i] -= penalties[i];
        }
        return new DecorrelationFit(penalties, transform, fits);
    }

    private static PenaltyFit Solve(string name, double[] rewards, double[] reference, double[] target, CorrelationMetric metric)
    {
        double[] buffer = new double[rewards.Length];
        float best = 0;
        double bestCorrelation = double.PositiveInfinity;

        double At(float penalty)
        {
            for (int i = 0; i < buffer.Length; i++) buffer[i] = rewards[i] - (double)penalty * reference[i];
            double correlation = Correlation.Pearson(metric == CorrelationMetric.Spearman ? Correlation.Ranks(buffer) : buffer, target);
            if (Math.Abs(correlation) < Math.Abs(bestCorrelation)) (best, bestCorrelation) = (penalty, correlation);
            return correlation;
        }

        double before = At(0);
        float low = 0, high = 0;
        double atLow = before, atHigh = before;
        if (before != 0 && reference.Any(r => r != reference[0]))
        {
            float guess = (float)Slope(rewards, reference);
            double atGuess = At(guess);
            (low, atLow, high, atHigh) = guess < 0 ? (guess, atGuess, 0f, before) : (0f, before, guess, atGuess);
            for (float step = Math.Max(Math.Abs(guess), 1e-6f); atLow < 0; step *= 2) atLow = At(low -= step);
            for (float step = Math.Max(Math.Abs(guess), 1e-6f); atHigh > 0; step *= 2) atHigh = At(high += step);
            while (Math.Abs(bestCorrelation) > Exact && Middle(low, high) is float middle && middle > low && middle < high)
            {
                double atMiddle = At(middle);
                if (atMiddle > 0) (low, atLow) = (middle, atMiddle);
                else (high, atHigh) = (middle, atMiddle);
            }
        }
        return new PenaltyFit
        {
            Name = name,
            Penalty = best,
            Before = before,
            After = bestCorrelation,
            Proof = Math.Abs(bestCorrelation) > Tolerance ? new ZeroCrossing(low, atLow, high, atHigh) : null,
        };
    }

    private static float Middle(float low, float high) => (float)(((double)low + high) / 2);

    private static double Slope(double[] rewards, double[] reference)
    {
        double meanReward = rewards.Average(), meanReference = reference.Average(), cross = 0, square = 0;
        for (int i = 0; i < rewards.Length; i++)
        {
            cross += (rewards[i] - meanReward) * (reference[i] - meanReference);
            square += (reference[i] - meanReference) * (reference[i] - meanReference);
        }
        return cross / square;
    }

    private static double[] Column(double[,] values, int column)
    {
        double[] result = new double[values.GetLength(0)];
        for (int i = 0; i < result.Length; i++) result[i] = values[i, column];
        return result;
    }
}
