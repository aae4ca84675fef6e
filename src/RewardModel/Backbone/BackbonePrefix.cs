using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// What a backbone keeps of tokens that many texts begin with: each layer's keys and values, [length, kvHeads, headDim], and the
/// last token's hidden state.
/// </summary>
public sealed class BackbonePrefix : IDisposable
{
    internal IReadOnlyList<(Tensor K, Tensor V)> Layers { get; }

    /// <summary>The number of tokens.</summary>
    public long Length { get; }

    /// <summary>[1, hiddenSize], on the CPU.</summary>
    public Tensor Hidden { get; }

    /// <summary>Bytes of memory that the keys and values take.</summary>
    public long Bytes => Layers.Sum(l => l.K.NumberOfElements * l.K.ElementSize + l.V.NumberOfElements * l.V.ElementSize);

    internal BackbonePrefix(long length, IReadOnlyList<(Tensor K, Tensor V)> layers, Tensor hidden)
    {
        Length = length;
        Layers = layers;
        Hidden = hidden;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((Tensor k, Tensor v) in Layers)
        {
            k.Dispose();
            v.Dispose();
        }
        Hidden.Dispose();
    }
}
