namespace ArmoFlow.RewardModel.Backbone;

/// <summary>Where a layer normalises: what goes into attention and feed-forward, what comes out of them, or both.</summary>
public enum NormPlaces
{
    /// <summary>What goes in (Llama, Mistral, Qwen, Phi-3).</summary>
    Inputs,

    /// <summary>What comes out, before it is added (OLMo 2).</summary>
    Outputs,

    /// <summary>Both (Gemma).</summary>
    Both,
}

/// <summary>Whether queries and keys are normalised before they are turned.</summary>
public enum HeadNorm
{
    /// <summary>They are not.</summary>
    None,

    /// <summary>Each head by itself, with weights that all share (Qwen 3, Gemma 3).</summary>
    EachHead,

    /// <summary>All heads as one vector (OLMo 2).</summary>
    AllHeads,
}

/// <summary>The function between the feed-forward's two projections.</summary>
public enum Activation
{
    /// <summary>x · σ(x).</summary>
    Silu,

    /// <summary>GELU, by the hyperbolic tangent.</summary>
    GeluTanh,
}

/// <summary>
/// What of a decoder-only model's config.json decides a hidden state, in one form for all families that
/// <see cref="Backbones"/> lists. What a family lacks has the value for which it changes nothing.
/// </summary>
public sealed record DecoderConfig : BackboneConfig
{
    /// <summary>Query heads of a layer.</summary>
    public required int NumAttentionHeads { get; init; }

    /// <summary>Key-value heads of a layer; each serves as many consecutive query heads.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>The dimension of a head.</summary>
    public required int HeadSize { get; init; }

    /// <summary>Added to a mean of squares before its root is taken.</summary>
    public required double RmsNormEps { get; init; }

    /// <summary>How positions turn queries and keys.</summary>
    public required RotaryEmbedding Rotary { get; init; }

    /// <summary>The same in layers with a window, where it differs (Gemma 3).</summary>
    public RotaryEmbedding? WindowRotary { get; init; }

    /// <summary>
    /// For each layer how many tokens one sees, itself among them; null for all before it. Empty: all layers see all.
    /// </summary>
    public IReadOnlyList<int?> Windows { get; init; } = [];

    /// <summary>Where layers normalise.</summary>
    public NormPlaces Norms { get; init; } = NormPlaces.Inputs;

    /// <summary>A norm multiplies by 1 + its weight (Gemma).</summary>
    public bool NormAddsOne { get; init; }

    /// <summary>A norm multiplies by its weight in float32, before the result is rounded to the compute type.</summary>
    public bool NormRoundsLast { get; init; }

    /// <summary>Whether queries and keys are normalised.</summary>
    public HeadNorm HeadNorm { get; init; } = HeadNorm.None;

    /// <summary>The feed-forward's function.</summary>
    public Activation Activation { get; init; } = Activation.Silu;

    /// <summary>Queries, keys and values have a bias.</summary>
    public bool HasInputBias { get; init; }

    /// <summary>Attention's output has a bias.</summary>
    public bool HasOutputBias { get; init; }

    /// <summary>The feed-forward's projections have a bias.</summary>
    public bool HasFeedForwardBias { get; init; }

    /// <summary>Queries, keys and values are one matrix, and so are gate and up (Phi-3).</summary>
    public bool IsFused { get; init; }

    /// <summary>What products of queries and keys are multiplied by; null for 1/√<see cref="HeadSize"/>.</summary>
    public double? AttentionScale { get; init; }

    /// <summary>c: a product s of query and key becomes c · tanh(s / c) (Gemma 2).</summary>
    public double? Softcap { get; init; }

    /// <summary>Embeddings are multiplied by √d, rounded to the type that they are stored in (Gemma).</summary>
    public bool ScalesEmbeddings { get; init; }

    /// <inheritdoc/>
    public override long Parameters => Shapes.Values.Sum(shape => shape.Aggregate(1L, (product, size) => product * size));

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, long[]> Shapes => DecoderTensors.Shapes(this);

    /// <inheritdoc/>
    public override string Positions => Rotary + (WindowRotary is { } other ? $"; in layers with a window: {other}" : "") + WindowsText;

    /// <inheritdoc/>
    public override bool DependsOnLength => Rotary.DependsOnLength || WindowRotary?.DependsOnLength == true;

    /// <summary>A layer's window; null for all tokens.</summary>
    public int? WindowOf(int layer) => Windows.Count == 0 ? null : Windows[layer];

    /// <summary>How positions turn a layer's queries and keys.</summary>
    public RotaryEmbedding RotaryOf(int layer) => WindowOf(layer) is null ? Rotary : WindowRotary ?? Rotary;

    private string WindowsText
    {
        get
        {
            int count = Windows.Count(window => window is not null);
            return count == 0 ? "" : $"; {count} of {NumHiddenLayers} layers see {Windows.First(window => window is not null)} tokens";
        }
    }
}
