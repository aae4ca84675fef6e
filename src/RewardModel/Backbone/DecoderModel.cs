using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// A decoder-only model without its output head: token ids to final-norm hidden states, of any family that
/// <see cref="DecoderConfig"/> describes (the Hugging Face checkpoint layout, whose rotary halves are [first half | second half]).
/// Weights that are kept in another type than the compute type are converted when they are used, a part at a time.
/// </summary>
internal sealed class DecoderModel : IBackbone
{
    private const double GeluSlope = 0.7978845608028654, GeluCubic = 0.044715; // √(2/π), and the cubic term of GELU by tanh
    private readonly DecoderConfig _config;
    private readonly DecoderWeights _weights;
    private readonly ScalarType _compute;
    private readonly Device _device;
    private readonly Workspace _workspace;

    /// <inheritdoc/>
    public BackboneConfig Config => _config;

    /// <summary>The most scores that are held at once where attention needs a mask or caps: some 16 MB, two or three times over.</summary>
    public long MostScores { get; init; } = 1 << 22;

    /// <summary>The most weights that are converted at once: 16 MB of float32. Fewer make slower products.</summary>
    public long MostConverted { get; init; } = 1 << 22;

    /// <summary>Loads a checkpoint folder.</summary>
    /// <param name="folder">config.json and safetensors.</param>
    /// <param name="config">What config.json says.</param>
    /// <param name="compute">float32, bfloat16, or float64 (for references).</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="kept">How weights are kept on the CPU, if memory allows.</param>
    /// <exception cref="InvalidInputException">The folder does not hold the weights that config.json describes.</exception>
    public DecoderModel(string folder, DecoderConfig config, ScalarType compute, Device device, WeightsKept kept)
    {
        _config = config;
        _compute = compute;
        _device = device;
        _workspace = new Workspace(compute, device);
        _weights = new DecoderWeights(folder, config, compute, device, kept);
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
        for (int i = 0; i < _config.NumHiddenLayers; i++)
        {
            cancel.ThrowIfCancellationRequested();
            packed.TurnsOf(i); // out of the layer's scope: those after it turn alike
            using DisposeScope layer = NewDisposeScope();
            (Tensor next, Tensor k, Tensor v) = Block(i, x, packed, attention);
            if (!ReferenceEquals(next, x)) x = next.MoveToOuterDisposeScope();
            // Out of this layer's scope and out of this call's: they are the caller's.
            kept?.Add((Own(k), Own(v)));
        }
        Tensor hidden = Norm(x, _weights.FinalNorm).narrow(0, 0, packed.Reads.Count).clone(); // out of the workspace
        return hidden.to(_compute == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32).cpu().MoveToOuterDisposeScope();

        Tensor Own(Tensor rows) => rows.narrow(0, 0, texts[0].Tokens.Length).clone().MoveToOuterDisposeScope().MoveToOuterDisposeScope();
    }

    /// <summary>A layer; the last one computes queries and its feed-forward for the rows that are read.</summary>
    /// <returns>The layer's output, which is x itself where all rows are computed, and the keys and values of all rows.</returns>
    private (Tensor X, Tensor K, Tensor V) Block(int layer, Tensor x, PackedTexts packed, PackedAttention attention)
    {
        LayerWeights w = _weights.Layer(layer);
        bool readsAll = layer < _config.NumHiddenLayers - 1;
        (Tensor cos, Tensor sin) = packed.TurnsOf(layer);
        (Tensor q, Tensor k, Tensor v) = Inputs(x, w, readsAll ? null : packed.ReadRows);
        if (!readsAll) x = x.index_select(0, packed.ReadRows);
        k = Freed(() => Rotate(NormedHeads(k, w.KeyNorm, _config.KeyValueHeads), cos, sin)); // [rows, kvHeads, headDim]
        v = Heads(v, _config.KeyValueHeads);
        Tensor attended = Freed(() =>
        {
            Tensor heads = NormedHeads(q, w.QueryNorm, _config.NumAttentionHeads);
            return readsAll ? attention.OfAll(layer, Rotate(heads, cos, sin), k, v)
                : attention.OfReads(layer, Rotate(heads, AtReads(cos), AtReads(sin)), k, v);
        });
        x.Add(NormIf(Project(attended, w.O, "projected"), w.AttentionOut));
        x.Add(NormIf(FeedForward(NormIf(x, w.FeedForwardIn), w), w.FeedForwardOut));
        return (x, k, v);

        Tensor AtReads(Tensor turns) => turns.index_select(0, packed.ReadRows);
    }

    /// <summary>Queries, of some rows if these are given, and keys and values of all.</summary>
    private (Tensor Q, Tensor K, Tensor V) Inputs(Tensor x, LayerWeights w, Tensor? ofRows)
    {
        int q = _config.NumAttentionHeads * _config.HeadSize, kv = _config.KeyValueHeads * _config.HeadSize;
        Tensor normed = NormIf(x, w.AttentionIn);
        if (ofRows is null)
        {
            Tensor all = Project(normed, w.Inputs, "inputs");
            return (all.narrow(1, 0, q), all.narrow(1, q, kv), all.narrow(1, q + kv, kv));
        }
        Tensor inputs = Project(normed, w.Inputs.Rows(q, 2 * kv), "inputs");
        Tensor queries = Project(normed.index_select(0, ofRows), w.Inputs.Rows(0, q), "queries");
        return (queries, inputs.narrow(1, 0, kv), inputs.narrow(1, kv, kv));
    }

    /// <summary>What is made on the way is freed at once: a layer's would be hundreds of megabytes.</summary>
    private static Tensor Freed(Func<Tensor> compute)
    {
        using DisposeScope scope = NewDisposeScope();
        return compute().MoveToOuterDisposeScope();
    }

    /// <summary>The activation is computed where the gate lies, and so is its product with the other half.</summary>
    private Tensor FeedForward(Tensor x, LayerWeights w)
    {
        Tensor both = Project(x, w.GateUp, "gate and up");
        Tensor gate = both.narrow(1, 0, _config.IntermediateSize), up = both.narrow(1, _config.IntermediateSize, _config.IntermediateSize);
        return Project(Activated(gate).mul_(up), w.Down, "projected");
    }

    private Tensor Activated(Tensor x) => _config.Activation switch
    {
        Activation.GeluTanh => Freed(() => x.Times(0.5) * (x + (x * x * x).Times(GeluCubic)).Times(GeluSlope).tanh().Plus(1.0)),
        _ => silu(x, inplace: true),
    };

    /// <summary>
    /// A product, in the workspace. Weights of another type are converted some rows at a time. In bfloat16 it is libtorch's own, which
    /// oneDNN computes: whether that would also be so for a part of a matrix was not tried, for want of a processor.
    /// </summary>
    private Tensor Project(Tensor x, Projection by, string use)
    {
        bool isStored = by.Weight.dtype == _compute;
        if (isStored && _compute == ScalarType.BFloat16) return linear(x, by.Weight, by.Bias);
        long outputs = by.Weight.shape[0], inputs = by.Weight.shape[1], most = isStored ? outputs : Math.Max(1, MostConverted / inputs);
        Tensor into = _workspace.Matrix(use, x.shape[0], outputs);
        if (by.Bias is not null) into.copy_(To(by.Bias).expand(x.shape[0], -1));
        for (long from = 0; from < outputs; from += most)
        {
            using DisposeScope scope = NewDisposeScope();
            long count = Math.Min(most, outputs - from);
            Tensor weights = by.Weight.narrow(0, from, count);
            if (!isStored) weights = _workspace.Matrix("weights", count, inputs).copy_(weights);
            into.narrow(1, from, count).addmm_(x, weights.t(), beta: by.Bias is null ? 0 : 1, alpha: 1);
        }
        return into;
    }

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
        if (_compute != ScalarType.BFloat16 && x.dim() == 2) return NormInWorkspace(x, weight);
        return Freed(() =>
        {
            Tensor wide = _compute == ScalarType.Float64 ? x : x.to(ScalarType.Float32); // the mean of squares loses too much in bfloat16
            Tensor scaled = wide * rsqrt(wide.Squared().mean([-1], keepdim: true).Plus(_config.RmsNormEps));
            if (_config.NormAddsOne) return (scaled * weight.to(wide.dtype).Plus(1.0)).to(_compute);
            return _config.NormRoundsLast ? (weight.to(wide.dtype) * scaled).to(_compute) : To(weight) * scaled.to(_compute);
        });
    }

    /// <summary>The same where nothing is rounded on the way.</summary>
    private Tensor NormInWorkspace(Tensor x, Tensor weight)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor normed = _workspace.Matrix("normed", x.shape[0], x.shape[1]), factors = To(weight);
        Tensor scales = rsqrt(normed.copy_(x).mul_(x).mean([-1], keepdim: true).Plus(_config.RmsNormEps));
        normed.copy_(x).mul_(scales).mul_(_config.NormAddsOne ? factors.Plus(1.0) : factors);
        return normed.MoveToOuterDisposeScope();
    }

    /// <summary>Turns the first dimensions of each head; the others stay as they are.</summary>
    private static Tensor Rotate(Tensor x, Tensor cos, Tensor sin)
    {
        long size = cos.shape[^1], half = size / 2;
        Tensor turned = size == x.shape[^1] ? x * cos : cat([First(x, size) * cos, x.narrow(-1, size, x.shape[^1] - size)], -1);
        First(turned, half).AddProduct(x.narrow(-1, half, half), First(sin, half), -1);
        turned.narrow(-1, half, half).AddProduct(First(x, half), sin.narrow(-1, half, half), 1);
        return turned;

        static Tensor First(Tensor x, long count) => x.narrow(-1, 0, count);
    }

    private Tensor To(Tensor weight) => weight.dtype == _compute ? weight : weight.to(_compute);

    /// <inheritdoc/>
    public void Dispose()
    {
        _weights.Dispose();
        _workspace.Dispose();
    }
}
