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
    private readonly DecoderConfig _config;
    private readonly DecoderWeights _weights;
    private readonly ScalarType _compute;
    private readonly Device _device;

    /// <inheritdoc/>
    public BackboneConfig Config => _config;

    /// <summary>The most scores that are held at once where attention needs a mask or caps: some 16 MB, two or three times over.</summary>
    public long MostScores { get; init; } = 1 << 22;

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
    public Tensor Forward(IReadOnlyList<BackboneText> texts, CancellationToken cancel = default) => Forward(texts, null, cancel);

    /// <inheritdoc/>
    public BackbonePrefix Read(int[] tokens, CancellationToken cancel = default)
    {
        using DisposeScope scope = NewDisposeScope();
        List<(Tensor K, Tensor V)> layers = [];
        Tensor hidden = Forward([new BackboneText(tokens, [tokens.Length - 1])], layers, cancel);
        return new BackbonePrefix(tokens.Length, [.. layers.Select(l => (l.K.DetachFromDisposeScope(), l.V.DetachFromDisposeScope()))],
            hidden.DetachFromDisposeScope());
    }

    private Tensor Forward(IReadOnlyList<BackboneText> texts, List<(Tensor K, Tensor V)>? kept, CancellationToken cancel)
    {
        using DisposeScope scope = NewDisposeScope();
        using var noGradient = no_grad();
        PackedTexts packed = new(texts, _config, _compute, _device);
        PackedAttention attention = new(_config, _compute, packed, MostScores);
        Tensor x = To(_weights.Embedding.index_select(0, packed.Tokens)); // [rows, d]
        if (_weights.EmbeddingScale is { } embeddingScale) x = x.Times(embeddingScale);
        for (int i = 0; i < _weights.Layers.Count; i++)
        {
            cancel.ThrowIfCancellationRequested();
            packed.TurnsOf(i); // out of the layer's scope: those after it turn alike
            using DisposeScope layer = NewDisposeScope();
            (Tensor next, Tensor k, Tensor v) = Block(i, x, packed, attention);
            x = next.MoveToOuterDisposeScope();
            // Out of this layer's scope and out of this call's: they are the caller's.
            kept?.Add((Own(k), Own(v)));
        }
        Tensor hidden = Norm(x, _weights.FinalNorm).narrow(0, 0, packed.Reads.Count);
        return hidden.to(_compute == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32).cpu().MoveToOuterDisposeScope();

        Tensor Own(Tensor rows) => rows.narrow(0, 0, texts[0].Tokens.Length).clone().MoveToOuterDisposeScope().MoveToOuterDisposeScope();
    }

    /// <summary>A layer; the last one computes queries and its feed-forward for the rows that are read.</summary>
    /// <returns>The layer's output, and the keys and values of all rows.</returns>
    private (Tensor X, Tensor K, Tensor V) Block(int layer, Tensor x, PackedTexts packed, PackedAttention attention)
    {
        LayerWeights w = _weights.Layers[layer];
        bool readsAll = layer < _weights.Layers.Count - 1;
        (Tensor cos, Tensor sin) = packed.TurnsOf(layer);
        Tensor normed = NormIf(x, w.AttentionIn), queries, inputs;
        int q = _config.NumAttentionHeads * _config.HeadSize, kv = _config.KeyValueHeads * _config.HeadSize;
        if (readsAll)
        {
            Tensor all = Project(normed, w.Inputs);
            queries = all.narrow(1, 0, q);
            inputs = all.narrow(1, q, 2 * kv);
        }
        else
        {
            inputs = Project(normed, w.Inputs.Rows(q, 2 * kv));
            queries = Project(normed.index_select(0, packed.ReadRows), w.Inputs.Rows(0, q));
            x = x.index_select(0, packed.ReadRows);
        }
        Tensor k = Rotate(NormedHeads(inputs.narrow(1, 0, kv), w.KeyNorm, _config.KeyValueHeads), cos, sin); // [rows, kvHeads, headDim]
        Tensor v = Heads(inputs.narrow(1, kv, kv), _config.KeyValueHeads);
        Tensor turned = NormedHeads(queries, w.QueryNorm, _config.NumAttentionHeads);
        turned = readsAll ? Rotate(turned, cos, sin) : Rotate(turned, AtReads(cos), AtReads(sin));
        Tensor attended = readsAll ? attention.OfAll(layer, turned, k, v) : attention.OfReads(layer, turned, k, v);
        x = x + NormIf(Project(attended, w.O), w.AttentionOut);
        return (x + NormIf(FeedForward(NormIf(x, w.FeedForwardIn), w), w.FeedForwardOut), k, v);

        Tensor AtReads(Tensor turns) => turns.index_select(0, packed.ReadRows);
    }

    private Tensor FeedForward(Tensor x, LayerWeights w)
    {
        Tensor both = Project(x, w.GateUp);
        Tensor gated = Activate(both.narrow(1, 0, _config.IntermediateSize));
        return Project(gated.mul_(both.narrow(1, _config.IntermediateSize, _config.IntermediateSize)), w.Down);
    }

    private Tensor Activate(Tensor x) => _config.Activation switch
    {
        Activation.GeluTanh => x.Times(0.5) * (x + (x * x * x).Times(GeluCubic)).Times(GeluSlope).tanh().Plus(1.0),
        _ => silu(x),
    };

    private Tensor Project(Tensor x, Projection by) => linear(x, To(by.Weight), by.Bias is null ? null : To(by.Bias));

    private Tensor NormedHeads(Tensor x, Tensor? norm, int heads) => _config.HeadNorm switch
    {
        HeadNorm.AllHeads => Heads(NormIf(x, norm), heads),
        _ => NormIf(Heads(x, heads), norm),
    };

    /// <summary>[rows, heads, headDim].</summary>
    private Tensor Heads(Tensor x, int heads) => x.reshape(x.shape[0], heads, _config.HeadSize);

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
