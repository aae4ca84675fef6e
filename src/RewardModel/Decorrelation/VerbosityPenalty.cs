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
        PenaltySearch search = new(rewards, reference, target, metric);
        Trial none = search.At(0);
        bool canChange = none.Correlation != 0 && reference.Any(r => r != reference[0]);
        Bracket bracket = canChange ? search.Bisect(search.FindSignChange(none)) : new Bracket(none, none);
        return new PenaltyFit
        {
            Name = name,
            Penalty = search.Best.Penalty,
            Before = none.Correlation,
            After = search.Best.Correlation,
            Proof = Math.Abs(search.Best.Correlation) > Tolerance ? bracket.AsCrossing : null,
        };
    }

    /// <summary>A penalty, and the correlation that is left with it.</summary>
    private readonly record struct Trial(float Penalty, double Correlation);

    /// <summary>Two penalties between which the correlation changes its sign; it falls as the penalty grows.</summary>
    private readonly record struct Bracket(Trial Low, Trial High)
    {
        public ZeroCrossing AsCrossing => new(Low.Penalty, Low.Correlation, High.Penalty, High.Correlation);
        public float Middle => (float)(((double)Low.Penalty + High.Penalty) / 2);

        /// <summary>False where no float32 lies between the two.</summary>
        public bool HasMiddle => Middle > Low.Penalty && Middle < High.Penalty;
    }

    /// <summary>Looks for the penalty of one objective at which its correlation with verbosity is 0.</summary>
    private sealed class PenaltySearch(double[] rewards, double[] reference, double[] target, CorrelationMetric metric)
    {
        private const float SmallestStep = 1e-6f;
        private readonly double[] _penalised = new double[rewards.Length];

        /// <summary>The trial whose correlation is nearest to 0 so far.</summary>
        public Trial Best { get; private set; } = new(0, double.PositiveInfinity);

        public Trial At(float penalty)
        {
            for (int i = 0; i < _penalised.Length; i++) _penalised[i] = rewards[i] - (double)penalty * reference[i];
            double[] compared = metric == CorrelationMetric.Spearman ? Correlation.Ranks(_penalised) : _penalised;
            Trial trial = new(penalty, Correlation.Pearson(compared, target));
            if (Math.Abs(trial.Correlation) < Math.Abs(Best.Correlation)) Best = trial;
            return trial;
        }

        /// <summary>From no penalty and the slope of the regression on verbosity, widened in doubling steps until the sign changes.</summary>
        public Bracket FindSignChange(Trial none)
        {
            Trial guess = At((float)Slope(rewards, reference));
            (Trial low, Trial high) = guess.Penalty < 0 ? (guess, none) : (none, guess);
            float first = Math.Max(Math.Abs(guess.Penalty), SmallestStep);
            for (float step = first; low.Correlation < 0; step *= 2) low = At(low.Penalty - step);
            for (float step = first; high.Correlation > 0; step *= 2) high = At(high.Penalty + step);
            return new Bracket(low, high);
        }

        /// <summary>Halves the bracket until the correlation is exact, or its ends are neighbouring float32 numbers.</summary>
        public Bracket Bisect(Bracket bracket)
        {
            while (Math.Abs(Best.Correlation) > Exact && bracket.HasMiddle)
            {
                Trial middle = At(bracket.Middle);
                bracket = middle.Correlation > 0 ? bracket with { Low = middle } : bracket with { High = middle };
            }
            return bracket;
        }
    }

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
