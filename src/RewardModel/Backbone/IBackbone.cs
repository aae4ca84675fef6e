using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>What every architecture's config.json says, in its own names or others.</summary>
public abstract record BackboneConfig
{
    /// <summary>The dimension of a hidden state, d.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>The width of a feed-forward layer.</summary>
    public required int IntermediateSize { get; init; }

    /// <summary>The number of layers.</summary>
    public required int NumHiddenLayers { get; init; }

    /// <summary>The number of token ids that have an embedding.</summary>
    public required int VocabSize { get; init; }

    /// <summary>The longest text that the model was made for, in tokens.</summary>
    public int MaxPositionEmbeddings { get; init; } = 2048;

    /// <summary>The token that texts are padded with, which a sequence-classification head does not pool; null for none.</summary>
    public int? PaddingToken { get; init; }

    /// <summary>The number of weights.</summary>
    public abstract long Parameters { get; }

    /// <summary>Tensor name → shape, of all that the architecture reads.</summary>
    public abstract IReadOnlyDictionary<string, long[]> Shapes { get; }

    /// <summary>
    /// True where a token's hidden state depends on how long the whole text is: texts of one prompt cannot share its pass then.
    /// </summary>
    public abstract bool DependsOnLength { get; }

    /// <summary>How it encodes positions, in a few words, for people.</summary>
    public abstract string Positions { get; }
}

/// <summary>A frozen language model without its output head: token ids to hidden states.</summary>
public interface IBackbone : IDisposable
{
    /// <summary>Its configuration.</summary>
    BackboneConfig Config { get; }

    /// <summary>Hidden states at the positions asked for.</summary>
    /// <param name="tokens">[batch, length] int64, padded on the right: under a causal mask padding is never seen.</param>
    /// <param name="readAt">[batch, n] int64 positions; the last layer computes queries and its feed-forward there only.</param>
    /// <param name="cancel">Checked between layers.</param>
    /// <returns>[batch, n, hiddenSize] float32 (float64 if that is the compute type), on the CPU.</returns>
    Tensor Forward(Tensor tokens, Tensor readAt, CancellationToken cancel = default);

    /// <summary>Hidden states of what follows a prefix; only that is computed.</summary>
    /// <param name="prefix">What comes before in every row, as <see cref="Read"/> gave it.</param>
    /// <param name="tokens">[batch, length] int64 after the prefix, padded on the right.</param>
    /// <param name="readAt">[batch, n] int64 positions, counted from the end of the prefix.</param>
    /// <param name="cancel">Checked between layers.</param>
    /// <returns>[batch, n, hiddenSize], as of the whole text but for the last digits.</returns>
    Tensor Forward(BackbonePrefix prefix, Tensor tokens, Tensor readAt, CancellationToken cancel = default);

    /// <summary>Reads a prefix, to be followed by other tokens any number of times.</summary>
    /// <param name="tokens">[1, length] int64.</param>
    /// <param name="cancel">Checked between layers.</param>
    BackbonePrefix Read(Tensor tokens, CancellationToken cancel = default);
}
