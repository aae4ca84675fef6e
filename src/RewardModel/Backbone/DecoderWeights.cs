using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>A linear projection: [out, in] and, for some, [out].</summary>
internal sealed record Projection(Tensor Weight, Tensor? Bias)
{
    /// <summary>Some of its outputs; they share its memory.</summary>
    public Projection Rows(long from, long count) => new(Weight.narrow(0, from, count), Bias?.narrow(0, from, count));
}

/// <summary>The weights of a layer; a norm that its family lacks is null.</summary>
internal sealed record LayerWeights
{
    public Tensor? AttentionIn { get; init; }

    public Tensor? AttentionOut { get; init; }

    public Tensor? FeedForwardIn { get; init; }

    public Tensor? FeedForwardOut { get; init; }

    public Tensor? QueryNorm { get; init; }

    public Tensor? KeyNorm { get; init; }

    /// <summary>Queries, keys and values, one after the other.</summary>
    public required Projection Inputs { get; init; }

    public required Projection O { get; init; }

    /// <summary>Gate and up, one after the other.</summary>
    public required Projection GateUp { get; init; }

    public required Projection Down { get; init; }

    /// <summary>All of them.</summary>
    public IEnumerable<Tensor> Tensors => new[] { AttentionIn, AttentionOut, FeedForwardIn, FeedForwardOut, QueryNorm, KeyNorm }
        .Concat(new[] { Inputs, O, GateUp, Down }.SelectMany(p => new[] { p.Weight, p.Bias }))
        .OfType<Tensor>();
}

/// <summary>How weights are kept on the CPU.</summary>
public enum WeightsKept
{
    /// <summary>In the type to compute in, for answers to few texts at a time.</summary>
    ReadyToCompute,

    /// <summary>As they are stored, where that is narrower; converted in parts when they are used. Batches make up for it.</summary>
    AsStored,

    /// <summary>Not at all: a layer is read when it is computed.</summary>
    OnDisk,
}

/// <summary>
/// The weights of a decoder-only model. They stay in their stored type where the compute type is wider, unless they are to be quick
/// at hand and memory allows; where they do not even fit so, a layer is read each time that it is computed.
/// </summary>
internal sealed class DecoderWeights : IDisposable
{
    private const double ShareOfMemory = 0.7;
    private readonly DecoderConfig _config;
    private readonly Checkpoint _checkpoint;
    private readonly IReadOnlyDictionary<string, long[]> _shapes;
    private readonly ScalarType _compute;
    private readonly WeightsKept _kept;
    private readonly Device _device;
    private readonly LayerWeights[]? _layers;
    private readonly Tensor[] _owned = [];

    /// <summary>[vocabulary, d], as stored: few rows are read at a time.</summary>
    public Tensor Embedding { get; }

    public Tensor FinalNorm { get; }

    /// <summary>What embeddings are multiplied by; null for nothing.</summary>
    public double? EmbeddingScale { get; }

    /// <summary>Loads a folder's weights.</summary>
    /// <param name="folder">config.json and safetensors.</param>
    /// <param name="config">What config.json says.</param>
    /// <param name="compute">The type to compute in.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="kept">How they are kept on the CPU, if memory allows.</param>
    /// <exception cref="InvalidInputException">They are not those that the configuration describes.</exception>
    public DecoderWeights(string folder, DecoderConfig config, ScalarType compute, Device device, WeightsKept kept)
    {
        _config = config;
        _compute = compute;
        _device = device;
        _shapes = config.Shapes;
        _checkpoint = new Checkpoint(folder);
        try
        {
            _checkpoint.Require(config);
            _kept = device.type == DeviceType.CPU ? Affordable(kept) : WeightsKept.ReadyToCompute;
            using DisposeScope scope = NewDisposeScope();
            Embedding = _checkpoint.Load(DecoderTensors.Embedding, _shapes[DecoderTensors.Embedding]).to(device);
            FinalNorm = Take(DecoderTensors.FinalNorm);
            _layers = _kept == WeightsKept.OnDisk ? null : ReadIfThereIsMemory();
            _owned = [Embedding, FinalNorm, .. _layers?.SelectMany(layer => layer.Tensors) ?? []];
            foreach (Tensor tensor in _owned) tensor.DetachFromDisposeScope();
            if (config.ScalesEmbeddings)
                EmbeddingScale = Rounded(Math.Sqrt(config.HiddenSize), _checkpoint.TypeOf(DecoderTensors.Embedding));
            if (_layers is not null) _checkpoint.Dispose();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>A layer's weights; where they are read now, they belong to the dispose scope.</summary>
    /// <param name="layer">From 0.</param>
    public LayerWeights Layer(int layer) => _layers?[layer] ?? Read(layer);

    /// <summary>The first way of keeping weights, from one on, for which there is memory.</summary>
    private WeightsKept Affordable(WeightsKept wanted)
    {
        double memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes * ShareOfMemory;
        bool isReady = wanted == WeightsKept.ReadyToCompute && _config.Parameters * DTypes.Size(_compute) < memory;
        if (isReady) return WeightsKept.ReadyToCompute;
        return wanted != WeightsKept.OnDisk && _checkpoint.Bytes < memory ? WeightsKept.AsStored : WeightsKept.OnDisk;
    }

    /// <summary>All layers; null where memory ends before they do, on a CPU, whose layers can be read one by one.</summary>
    private LayerWeights[]? ReadIfThereIsMemory()
    {
        using DisposeScope scope = NewDisposeScope();
        try
        {
            LayerWeights[] layers = [.. Enumerable.Range(0, _config.NumHiddenLayers).Select(Read)];
            foreach (Tensor tensor in layers.SelectMany(layer => layer.Tensors)) tensor.MoveToOuterDisposeScope();
            return layers;
        }
        catch (Exception e) when (_device.type == DeviceType.CPU && MemoryShortage.Is(e)) { return null; }
    }

    private LayerWeights Read(int layer) => Read(DecoderTensors.Layer(layer));

    private LayerWeights Read(string prefix)
    {
        (string? attentionIn, string? attentionOut, string? feedForwardIn, string? feedForwardOut) = DecoderTensors.Norms(_config.Norms);
        string[] inputs = _config.IsFused ? [DecoderTensors.FusedInputs]
            : [DecoderTensors.Queries, DecoderTensors.Keys, DecoderTensors.Values];
        string[] gateUp = _config.IsFused ? [DecoderTensors.FusedGateUp] : [DecoderTensors.Gate, DecoderTensors.Up];
        bool normsHeads = _config.HeadNorm != HeadNorm.None;
        return new LayerWeights
        {
            AttentionIn = TakeIf(attentionIn),
            AttentionOut = TakeIf(attentionOut),
            FeedForwardIn = TakeIf(feedForwardIn),
            FeedForwardOut = TakeIf(feedForwardOut),
            QueryNorm = TakeIf(normsHeads ? DecoderTensors.QueryNorm : null),
            KeyNorm = TakeIf(normsHeads ? DecoderTensors.KeyNorm : null),
            Inputs = Fused(prefix, inputs, _config.HasInputBias),
            O = Fused(prefix, [DecoderTensors.AttentionOutput], _config.HasOutputBias),
            GateUp = Fused(prefix, gateUp, _config.HasFeedForwardBias),
            Down = Fused(prefix, [DecoderTensors.Down], _config.HasFeedForwardBias),
        };

        Tensor? TakeIf(string? name) => name is null ? null : Take(prefix + name);
    }

    /// <summary>Projections of the same input as one: a wider product is a faster one.</summary>
    private Projection Fused(string prefix, string[] names, bool hasBias)
    {
        return new Projection(Together(".weight"), hasBias ? Together(".bias") : null);

        Tensor Together(string part)
        {
            string[] tensors = [.. names.Select(name => prefix + name + part)];
            long[] rows = [.. tensors.Select(name => _shapes[name][0])];
            ScalarType[] types = [.. tensors.Select(name => Kept(_checkpoint.TypeOf(name))).Distinct()];
            Tensor whole = empty([rows.Sum(), .. _shapes[tensors[0]][1..]], types.Length == 1 ? types[0] : _compute, _device);
            for (int i = 0; i < tensors.Length; i++)
            {
                using Tensor place = whole.narrow(0, rows[..i].Sum(), rows[i]);
                _checkpoint.Load(tensors[i], place);
            }
            return whole;
        }
    }

    private Tensor Take(string name)
    {
        Tensor kept = empty(_shapes[name], Kept(_checkpoint.TypeOf(name)), _device);
        _checkpoint.Load(name, kept);
        return kept;
    }

    /// <summary>The type that a tensor is kept in: on a CPU the narrower of the two, unless it is to be ready.</summary>
    private ScalarType Kept(ScalarType stored) =>
        _kept == WeightsKept.ReadyToCompute || DTypes.Size(_compute) <= DTypes.Size(stored) ? _compute : stored;

    /// <summary>A number as a type holds it.</summary>
    private static double Rounded(double value, ScalarType type)
    {
        using Tensor exact = tensor(value, ScalarType.Float64), rounded = exact.to(type), wide = rounded.to(ScalarType.Float64);
        return wide.item<double>();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Tensor tensor in _owned) tensor.Dispose();
        _checkpoint.Dispose();
    }
}
