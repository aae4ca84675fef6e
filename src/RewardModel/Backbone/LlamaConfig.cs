namespace ArmoFlow.RewardModel.Backbone;

/// <summary>What of a Hugging Face Llama config.json decides a hidden state. Read by <see cref="LlamaConfigReader"/>.</summary>
public sealed record LlamaConfig : BackboneConfig
{
    /// <summary>Query heads of a layer.</summary>
    public required int NumAttentionHeads { get; init; }

    /// <summary>Key-value heads of a layer, where they are fewer than the query heads.</summary>
    public int? NumKeyValueHeads { get; init; }

    /// <summary>The dimension of a head, where it is not <see cref="BackboneConfig.HiddenSize"/> over the query heads.</summary>
    public int? HeadDim { get; init; }

    /// <summary>Added to a mean of squares before its root is taken.</summary>
    public double RmsNormEps { get; init; } = 1e-6;

    /// <summary>How positions turn queries and keys.</summary>
    public RotaryEmbedding Rotary { get; init; } = new();

    /// <summary>Key-value heads of a layer; each serves as many query heads.</summary>
    public int KeyValueHeads => NumKeyValueHeads ?? NumAttentionHeads;

    /// <summary>The dimension of a head.</summary>
    public int HeadSize => HeadDim ?? HiddenSize / NumAttentionHeads;

    /// <inheritdoc/>
    public override long Parameters => (long)VocabSize * HiddenSize + (long)NumHiddenLayers
        * (2L * HiddenSize * NumAttentionHeads * HeadSize
            + 2L * HiddenSize * KeyValueHeads * HeadSize
            + 3L * HiddenSize * IntermediateSize);

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, long[]> Shapes => LlamaModel.Shapes(this);

    /// <inheritdoc/>
    public override string Positions => Rotary.ToString();

    /// <summary>Reads a config.json.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InvalidInputException">The file is missing, not JSON, or describes an architecture that we do not
    /// compute.</exception>
    public static LlamaConfig Load(string path) => LlamaConfigReader.Read(path);
}

/// <summary>How positions turn queries and keys: frequency i is θ^(−2i/headDim), stretched as the kind says.</summary>
public sealed record RotaryEmbedding
{
    /// <summary>The base that transformers takes where config.json names none, as those of Llama 1 and 2 do not.</summary>
    public const double DefaultTheta = 10000;

    /// <summary>θ, the base of the frequencies.</summary>
    public double Theta { get; init; } = DefaultTheta;

    /// <summary>True where config.json names a base.</summary>
    public bool HasTheta { get; init; }

    /// <summary>How the frequencies are stretched.</summary>
    public RotaryKind Kind { get; init; } = RotaryKind.Default;

    /// <summary>How much longer a text may be than the original context; for the kinds other than the default.</summary>
    public double Factor { get; init; } = 1;

    /// <summary>Below so many turns within the original context a frequency is divided by the factor; Llama 3's kind only.</summary>
    public double LowFreqFactor { get; init; } = 1;

    /// <summary>Above so many turns it is left as it is; between the two, something between; Llama 3's kind only.</summary>
    public double HighFreqFactor { get; init; } = 4;

    /// <summary>The original context, in tokens; Llama 3's kind only.</summary>
    public int OriginalMaxPositionEmbeddings { get; init; } = 8192;

    /// <summary>In a few words, for people.</summary>
    public override string ToString()
    {
        string theta = FormattableString.Invariant($"rotary base {Theta:N0}");
        string source = HasTheta ? "" : " (config.json names none: the default of transformers)";
        return Kind == RotaryKind.Default
            ? theta + source
            : FormattableString.Invariant($"{theta}{source}, {Kind.ToString().ToLowerInvariant()} × {Factor}");
    }
}

/// <summary>transformers' rope types that are computed here.</summary>
public enum RotaryKind
{
    /// <summary>As they are.</summary>
    Default,

    /// <summary>All divided by the factor.</summary>
    Linear,

    /// <summary>By wavelength, smoothly between two cut-offs.</summary>
    Llama3,
}
