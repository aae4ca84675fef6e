using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// A decoder-only model without its output head: token ids to final-norm hidden states, of any family that
/// <see cref="DecoderConfig"/> describes (the Hugging Face checkpoint layout, whose rotary halves are [first half | second half]).
/// Weights stay in their stored type; a layer is brought to the compute type when it runs, if memory forbids keeping it so.
/// </summary>
internal sealed class DecoderModel : IBackbone
{
    private const double GeluSlope = 0.7978845608028654, GeluCubic = 0.044715; // √(2/π), and the cubic term of GELU by tanh
    private const long MostScores = 1 << 22; // of a block of queries: some 16 MB, two or three times over
    private readonly DecoderConfig _config;
    private readonly DecoderWeights _weights;
    private readonly ScalarType _compute;
    private readonly Device _device;

    /// <inheritdoc/>
    public BackboneConfig Config => _config;

    /// <summary>Loads a checkpoint folder.</summary>
    /// <param name="folder">config.json and safetensors.</param>
    /// <param name="config">What config.json says.</param>
    /// <param name="compute">float32, bfloat16, or float64 (for references).</param>
    /// <param name="device">Where to compute.</param>
    /// <exception cref="InvalidInputException">The folder does not hold the weights that config.json describes.</exception>
    public DecoderModel(string folder, DecoderConfig config, ScalarType compute, Device device)
    {
        _config = config;
        _compute = compute;
        _device = device;
        _weights = DecoderWeights.Load(folder, config, compute, device);
    }

    /// <inheritdoc/>
    public Tensor Forward(Tensor tokens, Tensor readAt, CancellationToken cancel = default) => Forward(null, tokens, readAt, null, cancel);

    /// <inheritdoc/>
    public Tensor Forward(BackbonePrefix prefix, Tensor tokens, Tensor readAt, CancellationToken cancel = default) =>
        Forward(prefix, tokens, readAt, null, cancel);

    /// <inheritdoc/>
    public BackbonePrefix Read(Tensor tokens, CancellationToken cancel = default)
    {
        using DisposeScope scope = NewDisposeScope();
        List<(Tensor K, Tensor V)> layers = [];
        Tensor hidden = Forward(null, tokens, tensor(tokens.shape[1] - 1, ScalarType.Int64).view(1, 1), layers, cancel);
        return new BackbonePrefix(tokens.shape[1], [.. layers.Select(l => (l.K.DetachFromDisposeScope(), l.V.DetachFromDisposeScope()))],
            hidden.DetachFromDisposeScope());
    }

    private Tensor Forward(BackbonePrefix? prefix, Tensor tokens, Tensor readAt, List<(Tensor K, Tensor V)>? kept, CancellationToken cancel)
    {
        if (prefix is not null && _config.DependsOnLength)
            throw new InvalidOperationException("a prefix of a model whose positions depend on the length of the whole text");
        using DisposeScope scope = NewDisposeScope();
        using var noGradient = no_grad();
        long batch = tokens.shape[0], length = tokens.shape[1];
        Positions positions = new(_config, _compute, _device, prefix?.Length ?? 0, length, readAt);
        // [batch, length, d]
        Tensor x = To(_weights.Embedding).index_select(0, tokens.to(_device).flatten()).reshape(batch, length, _config.HiddenSize);
        if (_weights.EmbeddingScale is { } embeddingScale) x = x.Times(embeddingScale);
        for (int i = 0; i < _weights.Layers.Count; i++)
        {
            cancel.ThrowIfCancellationRequested();
            LayerPositions at = positions.Of(i, readsAll: i < _weights.Layers.Count - 1); // kept for the layers after it
            using DisposeScope layer = NewDisposeScope();
            (Tensor next, Tensor k, Tensor v) = Block(_weights.Layers[i], x, at, prefix?.Layers[i]);
            x = next.MoveToOuterDisposeScope();
            // Out of this layer's scope and out of this call's: they are the caller's.
            kept?.Add((k.MoveToOuterDisposeScope().MoveToOuterDisposeScope(), v.MoveToOuterDisposeScope().MoveToOuterDisposeScope()));
        }
        Tensor hidden = Norm(x, _weights.FinalNorm);
        return hidden.to(_compute == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32).cpu().MoveToOuterDisposeScope();
    }

    /// <returns>The layer's output, and the keys and values of its own tokens.</returns>
    private (Tensor X, Tensor K, Tensor V) Block(LayerWeights w, Tensor x, LayerPositions at, (Tensor K, Tensor V)? before)
    {
        Tensor normed = NormIf(x, w.AttentionIn);
        Tensor queries = at.ReadAt is null ? normed : Gather(normed, at.ReadAt);
        // [batch, kvHeads, prefix + length, headDim]
        Tensor ownK = Rotate(NormedHeads(Project(normed, w.K), w.KeyNorm, _config.KeyValueHeads), at.Cos, at.Sin);
        Tensor ownV = Heads(Project(normed, w.V), _config.KeyValueHeads);
        Tensor q = NormedHeads(Project(queries, w.Q), w.QueryNorm, _config.NumAttentionHeads); // [batch, heads, queries, headDim]
        q = Rotate(q, at.QueryCos, at.QuerySin);
        Tensor attended = Attend(q, Repeat(After(before?.K, ownK)), Repeat(After(before?.V, ownV)), at.Mask);
        if (at.ReadAt is not null) x = Gather(x, at.ReadAt);
        x = x + NormIf(Project(attended.transpose(1, 2).flatten(2), w.O), w.AttentionOut);
        Tensor inner = NormIf(x, w.FeedForwardIn);
        Tensor gated = Activate(Project(inner, w.Gate)) * Project(inner, w.Up);
        return (x + NormIf(Project(gated, w.Down), w.FeedForwardOut), ownK, ownV);
    }

    /// <summary>softmax(q kᵀ · scale) v over what the mask lets through; without a mask a token sees itself and all before it.</summary>
    private Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? mask)
    {
        double usual = 1 / Math.Sqrt(_config.HeadSize), scale = _config.AttentionScale ?? usual;
        if (_config.Softcap is not { } cap)
        {
            if (scale != usual) q = q.Times(scale / usual);
            return mask is null
                ? scaled_dot_product_attention(q, k, v, is_casual: true)
                : scaled_dot_product_attention(q, k, v, attn_mask: mask);
        }
        return AttendCapped(q.Times(scale), k, v, mask, cap);
    }

    /// <summary>The same with capped scores, for some queries at a time: scores of a whole batch would take gigabytes.</summary>
    private Tensor AttendCapped(Tensor q, Tensor k, Tensor v, Tensor? mask, double cap)
    {
        long queries = q.shape[2], keys = k.shape[2], rows = Math.Clamp(MostScores / (q.shape[0] * q.shape[1] * keys), 1, queries);
        List<Tensor> attended = [];
        for (long from = 0; from < queries; from += rows)
        {
            using DisposeScope block = NewDisposeScope();
            long count = Math.Min(rows, queries - from);
            long seen = mask is null ? from + count : keys; // without a mask the first query is the first token's
            Tensor scores = q.narrow(2, from, count).matmul(k.narrow(2, 0, seen).transpose(-2, -1)).Divide(cap).tanh_().Multiply(cap);
            Tensor wide = _compute == ScalarType.Float64 ? scores : scores.to(ScalarType.Float32);
            Tensor hidden = mask?.narrow(2, from, count).logical_not()
                ?? ones(count, seen, ScalarType.Bool, _device).triu(from + 1);
            Tensor shares = wide.Fill(hidden, double.NegativeInfinity).softmax(-1).to(_compute);
            attended.Add(shares.matmul(v.narrow(2, 0, seen)).MoveToOuterDisposeScope());
        }
        return attended.Count == 1 ? attended[0] : cat(attended, 2);
    }

    private Tensor Activate(Tensor x) => _config.Activation switch
    {
        Activation.GeluTanh => x.Times(0.5) * (x + (x * x * x).Times(GeluCubic)).Times(GeluSlope).tanh().Plus(1.0),
        _ => silu(x),
    };

    private Tensor Project(Tensor x, Projection by) => linear(x, To(by.Weight), by.Bias is null ? null : To(by.Bias));

    /// <summary>A prefix's keys or values before those of each row.</summary>
    private static Tensor After(Tensor? before, Tensor own) =>
        before is null ? own : cat([before.expand(own.shape[0], -1, -1, -1), own], 2);

    private Tensor NormedHeads(Tensor x, Tensor? norm, int heads) => _config.HeadNorm switch
    {
        HeadNorm.AllHeads => Heads(NormIf(x, norm), heads),
        _ => NormIf(Heads(x, heads), norm),
    };

    private Tensor Heads(Tensor x, int heads) => x.view(x.shape[0], x.shape[1], heads, _config.HeadSize).transpose(1, 2);

    private static Tensor Gather(Tensor x, Tensor at) => x.gather(1, at.unsqueeze(-1).expand(-1, -1, x.shape[2]));

    /// <summary>Grouped-query attention: each key-value head serves as many consecutive query heads.</summary>
    private Tensor Repeat(Tensor x)
    {
        int times = _config.NumAttentionHeads / _config.KeyValueHeads;
        return times == 1 ? x : x.repeat_interleave(times, 1);
    }

    private Tensor NormIf(Tensor x, Tensor? weight) => weight is null ? x : Norm(x, weight);

    private Tensor Norm(Tensor x, Tensor weight)
    {
        Tensor wide = _compute == ScalarType.Float64 ? x : x.to(ScalarType.Float32); // the mean of squares loses too much in bfloat16
        Tensor scaled = wide * rsqrt(wide.Squared().mean([-1], keepdim: true).Plus(_config.RmsNormEps));
        if (_config.NormAddsOne) return (scaled * weight.to(wide.dtype).Plus(1.0)).to(_compute);
        return _config.NormRoundsLast ? (weight.to(wide.dtype) * scaled).to(_compute) : To(weight) * scaled.to(_compute);
    }

    /// <summary>Turns the first dimensions of each head; the others stay as they are.</summary>
    private static Tensor Rotate(Tensor x, Tensor cos, Tensor sin)
    {
        long size = cos.shape[^1], half = size / 2;
        Tensor turned = size == x.shape[^1] ? x : x.narrow(-1, 0, size);
        Tensor across = cat([-turned.narrow(-1, half, half), turned.narrow(-1, 0, half)], -1);
        turned = turned * cos + across * sin;
        return size == x.shape[^1] ? turned : cat([turned, x.narrow(-1, size, x.shape[^1] - size)], -1);
    }

    private Tensor To(Tensor weight) => weight.dtype == _compute ? weight : weight.to(_compute);

    /// <inheritdoc/>
    public void Dispose() => _weights.Dispose();
}
