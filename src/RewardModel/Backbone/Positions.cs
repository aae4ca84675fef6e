using ArmoFlow.RewardModel.Tensors;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>What a layer knows of positions.</summary>
/// <param name="Cos">Turns keys: [1 or batch, 1, length, size].</param>
/// <param name="Sin">The same.</param>
/// <param name="QueryCos">Turns queries, which are all tokens' or those of <paramref name="ReadAt"/>.</param>
/// <param name="QuerySin">The same.</param>
/// <param name="Mask">[1 or batch, 1, queries, keys], true where a query sees a key; null where each sees itself and all before it.</param>
/// <param name="ReadAt">[batch, n] positions that the layer computes queries for; null for all.</param>
internal sealed record LayerPositions(Tensor Cos, Tensor Sin, Tensor QueryCos, Tensor QuerySin, Tensor? Mask, Tensor? ReadAt);

/// <summary>Positions of a batch of texts, computed once for all layers of a kind.</summary>
/// <param name="config">Says how layers differ.</param>
/// <param name="compute">The type to compute in.</param>
/// <param name="device">Where to compute.</param>
/// <param name="from">Tokens before those of the batch: a prefix.</param>
/// <param name="length">Tokens of the longest text of the batch, without the prefix.</param>
/// <param name="readAt">
/// [batch, n] positions, counted from the end of the prefix. A text ends where it is last read; what stands behind is padding.
/// </param>
internal sealed class Positions(DecoderConfig config, ScalarType compute, Device device, long from, long length, Tensor readAt)
{
    private readonly Tensor _readAt = readAt.to(device);
    private readonly Dictionary<RotaryEmbedding, (Tensor Cos, Tensor Sin)> _turns = [];
    private readonly Dictionary<(int? Window, bool ReadsAll), Tensor?> _masks = [];

    /// <summary>Those of a layer.</summary>
    /// <param name="layer">Its number, from 0.</param>
    /// <param name="readsAll">False for one whose output is wanted at the positions read only.</param>
    public LayerPositions Of(int layer, bool readsAll)
    {
        (Tensor cos, Tensor sin) = TurnsOf(config.RotaryOf(layer));
        Tensor? mask = MaskOf(config.WindowOf(layer), readsAll);
        return readsAll
            ? new LayerPositions(cos, sin, cos, sin, mask, null)
            : new LayerPositions(cos, sin, AtReads(cos), AtReads(sin), mask, _readAt);
    }

    private (Tensor Cos, Tensor Sin) TurnsOf(RotaryEmbedding rotary)
    {
        if (_turns.TryGetValue(rotary, out (Tensor, Tensor) known)) return known;
        Tensor positions = TensorNumbers.Range(from, from + length, ScalarType.Float64).unsqueeze(-1); // [length, 1]
        Tensor frequencies = FrequenciesOf(rotary).unsqueeze(1); // [rows, 1, size / 2]
        Tensor angles = positions.unsqueeze(0) * frequencies;
        angles = cat([angles, angles], -1).unsqueeze(1); // [rows, 1, length, size]
        return _turns[rotary] = (Scaled(angles.cos()), Scaled(angles.sin()));

        Tensor Scaled(Tensor x) => (rotary.AttentionFactor == 1 ? x : x.Times(rotary.AttentionFactor)).to(compute, device);
    }

    /// <summary>[1, size / 2], or [batch, size / 2] where they depend on each text's length.</summary>
    private Tensor FrequenciesOf(RotaryEmbedding rotary)
    {
        if (!rotary.DependsOnLength) return tensor(rotary.Frequencies(from + length), ScalarType.Float64).unsqueeze(0);
        long[] last = readAt.to(ScalarType.Int64).cpu().amax([1]).data<long>().ToArray();
        return stack([.. last.Select(at => tensor(rotary.Frequencies(from + at + 1), ScalarType.Float64))]);
    }

    private Tensor AtReads(Tensor turns)
    {
        Tensor index = _readAt.unsqueeze(-1).expand(-1, -1, turns.shape[^1]);
        return turns.squeeze(1).expand(_readAt.shape[0], -1, -1).gather(1, index).unsqueeze(1);
    }

    private Tensor? MaskOf(int? window, bool readsAll)
    {
        if (window >= from + length) window = null; // it sees all
        if (_masks.TryGetValue((window, readsAll), out Tensor? known)) return known;
        bool isPlain = readsAll && window is null && from == 0;
        return _masks[(window, readsAll)] = isPlain ? null : Seen(window, readsAll);
    }

    private Tensor Seen(int? window, bool readsAll)
    {
        Tensor at = readsAll ? TensorNumbers.Range(0, length, ScalarType.Int64, device).unsqueeze(0) : _readAt;
        Tensor query = at.Plus(from).unsqueeze(1).unsqueeze(-1); // [1 or batch, 1, queries, 1]
        Tensor key = TensorNumbers.Range(0, from + length, ScalarType.Int64, device).view(1, 1, 1, -1);
        Tensor seen = key.le(query);
        return window is { } tokens ? seen.logical_and(key.gt(query.Plus(-(long)tokens))) : seen;
    }
}
