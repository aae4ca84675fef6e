using System.Globalization;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>transformers' rope types: how the frequencies θ^(−2i/size) are stretched for texts beyond the original context.</summary>
public enum RotaryKind
{
    /// <summary>Not at all.</summary>
    Default,

    /// <summary>All divided by the factor.</summary>
    Linear,

    /// <summary>By a larger base, the longer the text is beyond the context.</summary>
    Dynamic,

    /// <summary>By the turns that a frequency makes within the original context, linearly between two bounds (Peng et al. 2023).</summary>
    Yarn,

    /// <summary>Each divided by a number of its own, of one list for short texts and of another for long ones (Ding et al. 2024).</summary>
    LongRope,

    /// <summary>By wavelength, smoothly between two cut-offs.</summary>
    Llama3,
}

/// <summary>
/// How positions turn queries and keys: pair i of a head's dimensions by position · frequency i. What is not of the kind is left at
/// its default. Source: transformers, modeling_rope_utils.
/// </summary>
public sealed record RotaryEmbedding
{
    /// <summary>The base that transformers takes where config.json names none, as those of Llama 1 and 2 do not.</summary>
    public const double DefaultTheta = 10000;

    /// <summary>θ, the base of the frequencies.</summary>
    public double Theta { get; init; } = DefaultTheta;

    /// <summary>True where config.json names a base.</summary>
    public bool HasTheta { get; init; }

    /// <summary>The dimensions of a head that are turned: the first ones.</summary>
    public required int Size { get; init; }

    /// <summary>How the frequencies are stretched.</summary>
    public RotaryKind Kind { get; init; } = RotaryKind.Default;

    /// <summary>How much longer a text may be than the original context; for the kinds other than the default.</summary>
    public double Factor { get; init; } = 1;

    /// <summary>The original context, in tokens.</summary>
    public int OriginalMaxPositionEmbeddings { get; init; } = 8192;

    /// <summary>What turned queries and keys are multiplied by (yarn, longrope).</summary>
    public double AttentionFactor { get; init; } = 1;

    /// <summary>llama3: below so many turns within the original context a frequency is divided by the factor.</summary>
    public double LowFreqFactor { get; init; } = 1;

    /// <summary>llama3: above so many turns it is left as it is; between the two, something between.</summary>
    public double HighFreqFactor { get; init; } = 4;

    /// <summary>yarn: from so many turns on a frequency is left as it is.</summary>
    public double BetaFast { get; init; } = 32;

    /// <summary>yarn: up to so many turns a frequency is divided by the factor.</summary>
    public double BetaSlow { get; init; } = 1;

    /// <summary>yarn: the bounds are rounded outwards to whole dimensions.</summary>
    public bool Truncates { get; init; } = true;

    /// <summary>longrope: what the frequencies of texts within the original context are divided by.</summary>
    public IReadOnlyList<double> ShortFactors { get; init; } = [];

    /// <summary>longrope: what those of longer texts are divided by.</summary>
    public IReadOnlyList<double> LongFactors { get; init; } = [];

    /// <summary>
    /// True where the frequencies depend on how long the whole text is: then a token's hidden state depends on what follows it, and
    /// texts of one prompt cannot share its pass.
    /// </summary>
    public bool DependsOnLength => Kind is RotaryKind.Dynamic or RotaryKind.LongRope;

    /// <summary>The Size / 2 frequencies for a text of a length, in radians a token.</summary>
    /// <param name="length">The length of the whole text, in tokens.</param>
    public double[] Frequencies(long length)
    {
        double[] plain = Powers(Theta);
        return Kind switch
        {
            RotaryKind.Default => plain,
            RotaryKind.Linear => [.. plain.Select(f => f / Factor)],
            RotaryKind.Dynamic => length <= OriginalMaxPositionEmbeddings ? plain : Powers(Grown(length)),
            RotaryKind.Yarn => Yarn(plain),
            RotaryKind.LongRope => [.. plain.Zip(length > OriginalMaxPositionEmbeddings ? LongFactors : ShortFactors, (f, by) => f / by)],
            RotaryKind.Llama3 => [.. plain.Select(Llama3)],
            _ => throw new InvalidOperationException($"no frequencies of kind {Kind}"),
        };
    }

    private double[] Powers(double theta) => [.. Enumerable.Range(0, Size / 2).Select(i => Math.Pow(theta, -2.0 * i / Size))];

    /// <summary>The base for a text beyond the context.</summary>
    private double Grown(long length)
    {
        double stretch = Factor * length / OriginalMaxPositionEmbeddings - (Factor - 1);
        return Theta * Math.Pow(stretch, Size / (Size - 2.0));
    }

    private double[] Yarn(double[] plain)
    {
        double low = DimensionOf(BetaFast), high = DimensionOf(BetaSlow);
        if (Truncates) (low, high) = (Math.Floor(low), Math.Ceiling(high));
        low = Math.Max(low, 0);
        high = Math.Min(high, Size - 1);
        if (low == high) high += 0.001; // as transformers does, so that nothing is divided by 0
        return [.. plain.Select((f, i) =>
        {
            double divided = Math.Clamp((i - low) / (high - low), 0, 1);
            return Between(f, divided, 1 - divided);
        })];
    }

    /// <summary>The dimension, with a fraction, whose frequency makes so many turns within the original context.</summary>
    private double DimensionOf(double turns) =>
        Size * Math.Log(OriginalMaxPositionEmbeddings / (turns * 2 * Math.PI)) / (2 * Math.Log(Theta));

    private double Llama3(double frequency)
    {
        double turns = OriginalMaxPositionEmbeddings * frequency / (2 * Math.PI); // within the original context
        double smooth = Math.Clamp((turns - LowFreqFactor) / (HighFreqFactor - LowFreqFactor), 0, 1);
        return Between(frequency, 1 - smooth, smooth);
    }

    /// <summary>One share of a frequency divided by the factor, and the other as it is.</summary>
    private double Between(double frequency, double divided, double kept) => divided * frequency / Factor + kept * frequency;

    /// <summary>In a few words, for people.</summary>
    public override string ToString()
    {
        string theta = string.Create(CultureInfo.InvariantCulture, $"rotary base {Theta:N0}");
        string source = HasTheta ? "" : " (config.json names none: the default of transformers)";
        return Kind == RotaryKind.Default
            ? theta + source
            : string.Create(CultureInfo.InvariantCulture, $"{theta}{source}, {Kind.ToString().ToLowerInvariant()} × {Factor}");
    }
}
