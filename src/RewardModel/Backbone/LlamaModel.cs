using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// A decoder-only Llama without its output head: token ids to final-norm hidden states (Touvron et al. 2023; the Hugging Face
/// checkpoint layout, whose rotary halves are [first half | second half]). Weights stay in their stored type; a layer is
/// brought to the compute type when it runs, if memory forbids keeping it so.
/// </summary>
internal sealed class LlamaModel : IBackbone
{
    private sealed record Layer(
        Tensor InputNorm,
        Tensor Q,
        Tensor K,
        Tensor V,
        Tensor O,
        Tensor PostNorm,
        Tensor Gate,
        Tensor Up,
        Tensor Down);

    private readonly Tensor _embedding, _finalNorm;
    private readonly Layer[] _layers;
    private readonly double[] _inverseFrequencies;
    private readonly ScalarType _compute;

    /// <summary>The model's configuration.</summary>
    public LlamaConfig Config { get; }

    BackboneConfig IBackbone.Config => Config;

    private Device Device { get; }

    /// <summary>Loads a checkpoint folder.</summary>
    /// <param name="folder">config.json and safetensors.</param>
    /// <param name="compute">float32, bfloat16, or float64 (for references).</param>
    /// <param name="device">Where to compute.</param>
    /// <exception cref="InvalidInputException">The folder does not hold a checkpoint of a supported architecture.</exception>
    public LlamaModel(string folder, ScalarType compute, Device device)
    {
        Config = LlamaConfig.Load(Path.Combine(folder, "config.json"));
        Device = device;
        _compute = compute;
        using Checkpoint checkpoint = new(folder);
        checkpoint.Require(Config);
        IReadOnlyDictionary<string, long[]> shapes = Shapes(Config);
        bool keepConverted =
            Config.Parameters * (compute == ScalarType.BFloat16 ? 2 : 4) < GC.GetGCMemoryInfo().TotalAvailableMemoryBytes * 0.7
                || device.type != DeviceType.CPU;

        Tensor Take(string name)
        {
            Tensor stored = checkpoint.Load(name, shapes[name]);
            Tensor placed = keepConverted ? stored.to(_compute, device) : stored.to(device);
            if (!ReferenceEquals(placed, stored)) stored.Dispose();
            return placed.DetachFromDisposeScope();
        }

        _embedding = Take(Embedding);
        _finalNorm = Take(FinalNorm);
        _layers = [.. Enumerable.Range(0, Config.NumHiddenLayers).Select(LayerPrefix).Select(p => new Layer(
            Take(p + "input_layernorm.weight"),
            Take(p + "self_attn.q_proj.weight"), Take(p + "self_attn.k_proj.weight"), Take(p + "self_attn.v_proj.weight"),
            Take(p + "self_attn.o_proj.weight"),
                Take(p + "post_attention_layernorm.weight"),
                Take(p + "mlp.gate_proj.weight"), Take(p + "mlp.up_proj.weight"), Take(p + "mlp.down_proj.weight")))];
        _inverseFrequencies = RotaryFrequencies(Config);
    }

    private const string Embedding = "model.embed_tokens.weight", FinalNorm = "model.norm.weight";

    private static string LayerPrefix(int layer) =>
        string.Create(System.Globalization.CultureInfo.InvariantCulture, $"model.layers.{layer}.");

    /// <summary>Every tensor of the architecture with its shape.</summary>
    public static IReadOnlyDictionary<string, long[]> Shapes(LlamaConfig config)
    {
        long d = config.HiddenSize, q = (long)config.NumAttentionHeads * config.HeadSize,
            kv = (long)config.KeyValueHeads * config.HeadSize, m = config.IntermediateSize;
        Dictionary<string, long[]> shapes = new() { [Embedding] = [config.VocabSize, d], [FinalNorm] = [d] };
        foreach (string p in Enumerable.Range(0, config.NumHiddenLayers).Select(LayerPrefix))
        {
            shapes[p + "input_layernorm.weight"] = shapes[p + "post_attention_layernorm.weight"] = [d];
            shapes[p + "self_attn.q_proj.weight"] = [q, d];
            shapes[p + "self_attn.k_proj.weight"] = shapes[p + "self_attn.v_proj.weight"] = [kv, d];
            shapes[p + "self_attn.o_proj.weight"] = [d, q];
            shapes[p + "mlp.gate_proj.weight"] = shapes[p + "mlp.up_proj.weight"] = [m, d];
            shapes[p + "mlp.down_proj.weight"] = [d, m];
        }
        return shapes;
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
        using DisposeScope scope = NewDisposeScope();
        using var noGradient = no_grad();
        long batch = tokens.shape[0], length = tokens.shape[1];
        (Tensor cos, Tensor sin) = Rotary(prefix?.Length ?? 0, length);
        // [batch, length, d]
        Tensor x = To(_embedding).index_select(0, tokens.to(Device).flatten()).reshape(batch, length, Config.HiddenSize);
        Tensor at = readAt.to(Device);
        for (int i = 0; i < _layers.Length; i++)
        {
            cancel.ThrowIfCancellationRequested();
            using DisposeScope layer = NewDisposeScope();
            (Tensor next, Tensor k, Tensor v) = Block(_layers[i], x, cos, sin, i == _layers.Length - 1 ? at : null, prefix?.Layers[i]);
            x = next.MoveToOuterDisposeScope();
            // Out of this layer's scope and out of this call's: they are the caller's.
            kept?.Add((k.MoveToOuterDisposeScope().MoveToOuterDisposeScope(), v.MoveToOuterDisposeScope().MoveToOuterDisposeScope()));
        }
        Tensor hidden = RmsNorm(x, _finalNorm);
        return hidden.to(_compute == ScalarType.Float64 ? ScalarType.Float64 : ScalarType.Float32).cpu().MoveToOuterDisposeScope();
    }

    /// <returns>The layer's output, and the keys and values of its own tokens.</returns>
    private (Tensor X, Tensor K, Tensor V) Block(Layer w, Tensor x, Tensor cos, Tensor sin, Tensor? readAt, (Tensor K, Tensor V)? before)
    {
        Tensor normed = RmsNorm(x, w.InputNorm);
        Tensor queries = readAt is null ? normed : Gather(normed, readAt);
        // [batch, kvHeads, prefix + length, headDim]
        Tensor ownK = Rotate(Heads(linear(normed, To(w.K)), Config.KeyValueHeads), cos, sin), k = After(before?.K, ownK);
        Tensor ownV = Heads(linear(normed, To(w.V)), Config.KeyValueHeads), v = After(before?.V, ownV);
        Tensor q = Heads(linear(queries, To(w.Q)), Config.NumAttentionHeads); // [batch, heads, queries, headDim]
        q = readAt is null ? Rotate(q, cos, sin) : Rotate(q, cos[readAt].unsqueeze(1), sin[readAt].unsqueeze(1));
        Tensor attended;
        if (readAt is null && before is null) attended = scaled_dot_product_attention(q, Repeat(k), Repeat(v), is_casual: true);
        else
        {
            long prefix = k.shape[2] - x.shape[1];
            Tensor at = readAt ?? TensorNumbers.Range(0, x.shape[1], ScalarType.Int64, Device).unsqueeze(0);
            // [batch or 1, 1, queries, prefix + length]
            Tensor mask = TensorNumbers.Range(0, k.shape[2], ScalarType.Int64, Device)
                .view(1, 1, 1, -1)
                .le(at.Plus(prefix).unsqueeze(1).unsqueeze(-1));
            attended = scaled_dot_product_attention(q, Repeat(k), Repeat(v), attn_mask: mask);
        }
        if (readAt is not null) x = Gather(x, readAt);
        x = x + linear(attended.transpose(1, 2).flatten(2), To(w.O));
        Tensor inner = RmsNorm(x, w.PostNorm);
        return (x + linear(silu(linear(inner, To(w.Gate))) * linear(inner, To(w.Up)), To(w.Down)), ownK, ownV);
    }

    /// <summary>A prefix's keys or values before those of each row.</summary>
    private static Tensor After(Tensor? before, Tensor own) =>
        before is null ? own : cat([before.expand(own.shape[0], -1, -1, -1), own], 2);

    private Tensor Heads(Tensor x, int heads) => x.view(x.shape[0], x.shape[1], heads, Config.HeadSize).transpose(1, 2);

    private static Tensor Gather(Tensor x, Tensor at) => x.gather(1, at.unsqueeze(-1).expand(-1, -1, x.shape[2]));

    /// <summary>Grouped-query attention: each key-value head serves as many consecutive query heads.</summary>
    private Tensor Repeat(Tensor x) =>
        Config.KeyValueHeads == Config.NumAttentionHeads ? x : x.repeat_interleave(Config.NumAttentionHeads / Config.KeyValueHeads, 1);

    private Tensor RmsNorm(Tensor x, Tensor weight)
    {
        Tensor wide = _compute == ScalarType.Float64 ? x : x.to(ScalarType.Float32); // the mean of squares loses too much in bfloat16
        Tensor scaled = wide * rsqrt(wide.Squared().mean([-1], keepdim: true).Plus(Config.RmsNormEps));
        return To(weight) * scaled.to(_compute);
    }

    private static Tensor Rotate(Tensor x, Tensor cos, Tensor sin)
    {
        long half = x.shape[^1] / 2;
        Tensor turned = cat([-x.narrow(-1, half, half), x.narrow(-1, 0, half)], -1);
        return x * cos + turned * sin;
    }

    private (Tensor Cos, Tensor Sin) Rotary(long from, long length)
    {
        Tensor frequencies = tensor(_inverseFrequencies, ScalarType.Float64);
        Tensor positions = TensorNumbers.Range(from, from + length, ScalarType.Float64);
        Tensor angles = positions.unsqueeze(1) * frequencies.unsqueeze(0); // [length, headDim/2]
        angles = cat([angles, angles], -1); // [length, headDim]
        return (angles.cos().to(_compute, Device), angles.sin().to(_compute, Device));
    }

    /// <summary>θ^(−2i/headDim), stretched as the checkpoint says ('llama3': by wavelength, smoothly between the two cut-offs).</summary>
    private static double[] RotaryFrequencies(LlamaConfig config)
    {
        RotaryEmbedding rotary = config.Rotary;
        double[] frequencies =
            [.. Enumerable.Range(0, config.HeadSize / 2).Select(i => Math.Pow(rotary.Theta, -2.0 * i / config.HeadSize))];
        return rotary.Kind switch
        {
            RotaryKind.Default => frequencies,
            RotaryKind.Linear => [.. frequencies.Select(f => f / rotary.Factor)],
            _ => [.. frequencies.Select(f => Stretched(f, rotary))],
        };
    }

    private static double Stretched(double frequency, RotaryEmbedding rotary)
    {
        double turns = rotary.OriginalMaxPositionEmbeddings * frequency / (2 * Math.PI); // full turns within the original context
        double smooth = Math.Clamp((turns - rotary.LowFreqFactor) / (rotary.HighFreqFactor - rotary.LowFreqFactor), 0, 1);
        return (1 - smooth) * frequency / rotary.Factor + smooth * frequency;
    }

    private Tensor To(Tensor weight) => weight.dtype == _compute ? weight : weight.to(_compute);

    public void Dispose()
    {
        _embedding.Dispose();
        _finalNorm.Dispose();
        foreach (Layer w in _layers)
            foreach (Tensor t in new[] { w.InputNorm, w.Q, w.K, w.V, w.O, w.PostNorm, w.Gate, w.Up, w.Down }) t.Dispose();
    }
}
