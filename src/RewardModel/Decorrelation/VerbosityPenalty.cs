using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.RewardModel.Decorrelation;

/// <summary>One objective's penalty and what it did to the correlation with verbosity.</summary>
public sealed record PenaltyFit
{
    /// <summary>The objective's name.</summary>
    public required string Name { get; init; }

    /// <summary>λ, in the objective's reward for each unit of verbosity's.</summary>
    public required double Penalty { get; init; }

    /// <summary>Correlation of the reward with verbosity, from −1 to 1.</summary>
    public required double Before { get; init; }

    /// <summary>The same after the penalty.</summary>
    public required double After { get; init; }

    /// <summary>Where no penalty meets the tolerance: neighbouring float32 penalties between which the correlation jumps over 0.</summary>
    public ZeroCrossing? Proof { get; init; }
}

/// <summary>Shows that no penalty does better: between two neighbouring float32 values the correlation jumps over 0.</summary>
/// <param name="LowerPenalty">The lower value.</param>
/// <param name="CorrelationThere">Above 0.</param>
/// <param name="UpperPenalty">The upper value.</param>
/// <param name="CorrelationHere">At most 0.</param>
public sealed record ZeroCrossing(double LowerPenalty, double CorrelationThere, double UpperPenalty, double CorrelationHere);

/// <summary>The penalties of all objectives, and how they were found.</summary>
/// <param name="Penalties">λ [k], with 1 for verbosity itself.</param>
/// <param name="Transform">M = I − e_v λᵀ [k, k], such that r' = r M; each value is one that float32 holds exactly.</param>
/// <param name="Objectives">How each penalty was found, k.</param>
public sealed record DecorrelationFit(float[] Penalties, Matrix Transform, IReadOnlyList<PenaltyFit> Objectives);

/// <summary>
/// λ_i such that Corr(r_i − λ_i r_v, r_v) = 0 on a reference set (paper, equations 2 and 3). Both coefficients fall
/// monotonically with λ: growing it only turns concordant pairs discordant. So the root is bracketed and bisected down to
/// neighbouring float32 values, the type that λ is stored in.
/// </summary>
public static class VerbosityPenalty
{
    /// <summary>The largest |correlation| that is as good as none.</summary>
    public const double Tolerance = 1e-3;

    /// <summary>Finds the penalties of all objectives.</summary>
    /// <param name="rewards">[n, k] on the reference set.</param>
    /// <param name="names">The k objectives.</param>
    /// <param name="verbosity">Index of r_v.</param>
    /// <param name="metric">Spearman unless asked otherwise.</param>
    /// <param name="progress">Told objectives finished.</param>
    /// <param name="cancel">Checked between objectives.</param>
    /// <returns>Penalties [k] with λ_v = 1, and M = I − e_v λᵀ [k, k] such that r' = r M.</returns>
    public static DecorrelationFit Fit(Matrix rewards, IReadOnlyList<string> names, int verbosity, CorrelationMetric metric,
        Action<int>? progress = null, CancellationToken cancel = default)
    {
        int k = names.Count;
        double[] reference = rewards.Column(verbosity);
        PenaltyFit[] fits = new PenaltyFit[k];
        int done = 0;
        Parallel.For(0, k, new ParallelOptions { CancellationToken = cancel }, i =>
        {
            fits[i] = i == verbosity
                ? new PenaltyFit { Name = names[i], Penalty = 1, Before = Correlation.Of(metric, reference, reference), After = 0 }
                : new PenaltySearch(rewards.Column(i), reference, metric).Fit(names[i]);
            progress?.Invoke(Interlocked.Increment(ref done));
        });
        float[] penalties = [.. fits.Select(f => (float)f.Penalty)];
        Matrix transform = new(k, k);
        for (int i = 0; i < k; i++)
        {
            transform[i, i] += 1;
            transform[verbosity, i] -= penalties[i];
        }
        return new DecorrelationFit(penalties, transform, fits);
    }
}

/// <summary>The search for one objective's penalty; it remembers the best one seen.</summary>
internal sealed class PenaltySearch
{
    private const double Exact = 1e-7; // what float32 penalties can hold of a continuous coefficient
    private const float SmallestStep = 1e-6f;

    private readonly double[] _rewards, _reference, _target, _penalised;
    private readonly CorrelationMetric _metric;
    private float _best;
    private double _bestCorrelation = double.PositiveInfinity;

    /// <summary>Penalties between which the correlation changes its sign: at least 0 at the low one, at most 0 at the high one.</summary>
    private readonly record struct Bracket(float Low, double AtLow, float High, double AtHigh);

    /// <param name="rewards">r_i [n].</param>
    /// <param name="reference">r_v [n].</param>
    /// <param name="metric">The correlation that is to be 0.</param>
    public PenaltySearch(double[] rewards, double[] reference, CorrelationMetric metric)
    {
        _rewards = rewards;
        _reference = reference;
        _metric = metric;
        _penalised = new double[rewards.Length];
        _target = metric == CorrelationMetric.Spearman ? Correlation.Ranks(reference) : reference;
    }

    /// <summary>Finds the penalty.</summary>
    /// <param name="name">The objective's name.</param>
    public PenaltyFit Fit(string name)
    {
        double before = CorrelationAt(0);
        Bracket bracket = new(0, before, 0, before);
        bool isConstant = _reference.All(r => r == _reference[0]);
        if (before != 0 && !isConstant) bracket = Bisect(FindSignChange(before));
        bool meetsTolerance = Math.Abs(_bestCorrelation) <= VerbosityPenalty.Tolerance;
        return new PenaltyFit
        {
            Name = name,
            Penalty = _best,
            Before = before,
            After = _bestCorrelation,
            Proof = meetsTolerance ? null : new ZeroCrossing(bracket.Low, bracket.AtLow, bracket.High, bracket.AtHigh),
        };
    }

    /// <summary>Corr(r_i − λ r_v, r_v).</summary>
    private double CorrelationAt(float penalty)
    {
        for (int i = 0; i < _penalised.Length; i++) _penalised[i] = _rewards[i] - (double)penalty * _reference[i];
        double[] values = _metric == CorrelationMetric.Spearman ? Correlation.Ranks(_penalised) : _penalised;
        double correlation = Correlation.Pearson(values, _target);
        if (Math.Abs(correlation) < Math.Abs(_bestCorrelation))
        {
            _best = penalty;
            _bestCorrelation = correlation;
        }
        return correlation;
    }

    /// <summary>From 0 and the least-squares slope outwards, in steps that double.</summary>
    private Bracket FindSignChange(double before)
    {
        float guess = (float)Slope();
        double atGuess = CorrelationAt(guess);
        (float low, double atLow, float high, double atHigh) = guess < 0 ? (guess, atGuess, 0f, before) : (0f, before, guess, atGuess);
        float step = Math.Max(Math.Abs(guess), SmallestStep);
        while (atLow < 0)
        {
            low -= step;
            atLow = CorrelationAt(low);
            step *= 2;
        }
        step = Math.Max(Math.Abs(guess), SmallestStep);
        while (atHigh > 0)
        {
            high += step;
            atHigh = CorrelationAt(high);
            step *= 2;
        }
        return new Bracket(low, atLow, high, atHigh);
    }

    /// <summary>Halves a bracket until its ends are neighbouring float32 values, or a penalty is as good as one can be.</summary>
    private Bracket Bisect(Bracket bracket)
    {
        while (Math.Abs(_bestCorrelation) > Exact)
        {
            float middle = (float)(((double)bracket.Low + bracket.High) / 2);
            bool isBetween = middle > bracket.Low && middle < bracket.High;
            if (!isBetween) break;
            double atMiddle = CorrelationAt(middle);
            bracket = atMiddle > 0
                ? bracket with { Low = middle, AtLow = atMiddle }
                : bracket with { High = middle, AtHigh = atMiddle };
        }
        return bracket;
    }

    /// <summary>Slope of the least-squares line of r_i over r_v: the root of Pearson's coefficient.</summary>
    private double Slope()
    {
        double meanReward = _rewards.Average(), meanReference = _reference.Average(), cross = 0, square = 0;
        for (int i = 0; i < _rewards.Length; i++)
        {
            cross += (_rewards[i] - meanReward) * (_reference[i] - meanReference);
            square += (_reference[i] - meanReference) * (_reference[i] - meanReference);
        }
        return cross / square;
    }
}
