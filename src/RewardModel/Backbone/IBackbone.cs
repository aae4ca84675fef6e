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

    /// <summary>Hidden states at the positions asked for. What one text yields does not depend on the others.</summary>
    /// <param name="texts">Texts, and parts that follow others of them or a prefix; each token is computed once.</param>
    /// <param name="cancel">Checked between layers.</param>
    /// <returns>
    /// [reads, hiddenSize] float32 (float64 if that is the compute type), on the CPU: for each text in order its positions in order.
    /// </returns>
    Tensor Forward(IReadOnlyList<BackboneText> texts, CancellationToken cancel = default);

    /// <summary>Reads a prefix, to be followed by other tokens any number of times.</summary>
    /// <param name="tokens">Its tokens; at least one.</param>
    /// <param name="cancel">Checked between layers.</param>
    BackbonePrefix Read(int[] tokens, CancellationToken cancel = default);
}
