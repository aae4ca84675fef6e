using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>A linear projection: [out, in] and, for some, [out].</summary>
internal sealed record Projection(Tensor Weight, Tensor? Bias);

/// <summary>The weights of a layer; a norm that its family lacks is null.</summary>
internal sealed record LayerWeights
{
    public Tensor? AttentionIn { get; init; }

    public Tensor? AttentionOut { get; init; }

    public Tensor? FeedForwardIn { get; init; }

    public Tensor? FeedForwardOut { get; init; }

    public Tensor? QueryNorm { get; init; }

    public Tensor? KeyNorm { get; init; }

    public required Projection Q { get; init; }

    public required Projection K { get; init; }

    public required Projection V { get; init; }

    public required Projection O { get; init; }

    public required Projection Gate { get; init; }

    public required Projection Up { get; init; }

    public required Projection Down { get; init; }
}

/// <summary>The weights of a decoder-only model: in the compute type if memory allows, else as they are stored.</summary>
internal sealed class DecoderWeights : IDisposable
{
    private const double ShareOfMemory = 0.7;
    private readonly DecoderConfig _config;
    private readonly Checkpoint _checkpoint;
    private readonly IReadOnlyDictionary<string, long[]> _shapes;
    private readonly ScalarType? _convertTo;
    private readonly Device _device;
    private readonly List<Tensor> _owned = [];

    public Tensor Embedding { get; }

    public Tensor FinalNorm { get; }

    public IReadOnlyList<LayerWeights> Layers { get; }

    /// <summary>What embeddings are multiplied by; null for nothing.</summary>
    public double? EmbeddingScale { get; }

    /// <summary>Loads a folder's weights.</summary>
    /// <exception cref="InvalidInputException">They are not those that the configuration describes.</exception>
    public static DecoderWeights Load(string folder, DecoderConfig config, ScalarType compute, Device device)
    {
        using Checkpoint checkpoint = new(folder);
        checkpoint.Require(config);
        return new DecoderWeights(checkpoint, config, compute, device);
    }

    private DecoderWeights(Checkpoint checkpoint, DecoderConfig config, ScalarType compute, Device device)
    {
        _config = config;
        _checkpoint = checkpoint;
        _device = device;
        _shapes = config.Shapes;
        long converted = config.Parameters * (compute == ScalarType.BFloat16 ? 2 : 4);
        bool fits = device.type != DeviceType.CPU || converted < GC.GetGCMemoryInfo().TotalAvailableMemoryBytes * ShareOfMemory;
        _convertTo = fits ? compute : null;
        Embedding = Take(DecoderTensors.Embedding);
        FinalNorm = Take(DecoderTensors.FinalNorm);
        Layers = [.. Enumerable.Range(0, config.NumHiddenLayers).Select(layer => Layer(DecoderTensors.Layer(layer)))];
        if (config.ScalesEmbeddings) EmbeddingScale = Rounded(Math.Sqrt(config.HiddenSize), checkpoint.TypeOf(DecoderTensors.Embedding));
    }

    private LayerWeights Layer(string prefix)
    {
        (string? attentionIn, string? attentionOut, string? feedForwardIn, string? feedForwardOut) = DecoderTensors.Norms(_config.Norms);
        long q = (long)_config.NumAttentionHeads * _config.HeadSize, kv = (long)_config.KeyValueHeads * _config.HeadSize,
            m = _config.IntermediateSize;
        Projection[] inputs = _config.IsFused
            ? Split(Projection(prefix + DecoderTensors.FusedInputs, _config.HasInputBias), q, kv, kv)
            : [.. new[] { DecoderTensors.Queries, DecoderTensors.Keys, DecoderTensors.Values }
                .Select(name => Projection(prefix + name, _config.HasInputBias))];
        Projection[] gateAndUp = _config.IsFused
            ? Split(Projection(prefix + DecoderTensors.FusedGateUp, _config.HasFeedForwardBias), m, m)
            : [.. new[] { DecoderTensors.Gate, DecoderTensors.Up }.Select(name => Projection(prefix + name, _config.HasFeedForwardBias))];
        bool normsHeads = _config.HeadNorm != HeadNorm.None;
        return new LayerWeights
        {
            AttentionIn = TakeIf(attentionIn),
            AttentionOut = TakeIf(attentionOut),
            FeedForwardIn = TakeIf(feedForwardIn),
            FeedForwardOut = TakeIf(feedForwardOut),
            QueryNorm = TakeIf(normsHeads ? DecoderTensors.QueryNorm : null),
            KeyNorm = TakeIf(normsHeads ? DecoderTensors.KeyNorm : null),
            Q = inputs[0],
            K = inputs[1],
            V = inputs[2],
            O = Projection(prefix + DecoderTensors.AttentionOutput, _config.HasOutputBias),
            Gate = gateAndUp[0],
            Up = gateAndUp[1],
            Down = Projection(prefix + DecoderTensors.Down, _config.HasFeedForwardBias),
        };

        Tensor? TakeIf(string? name) => name is null ? null : Take(prefix + name);
    }

    private Projection Projection(string name, bool hasBias) => new(Take(name + ".weight"), hasBias ? Take(name + ".bias") : null);

    /// <summary>Projections whose rows stand one after the other; the parts share the memory of the whole.</summary>
    private Projection[] Split(Projection whole, params long[] rows)
    {
        long from = 0;
        List<Projection> parts = [];
        foreach (long count in rows)
        {
            parts.Add(new Projection(Part(whole.Weight), whole.Bias is null ? null : Part(whole.Bias)));
            from += count;

            Tensor Part(Tensor of) => Own(of.narrow(0, from, count));
        }
        return [.. parts];
    }

    private Tensor Take(string name)
    {
        Tensor stored = _checkpoint.Load(name, _shapes[name]);
        Tensor placed = _convertTo is { } type ? stored.to(type, _device) : stored.to(_device);
        if (!ReferenceEquals(placed, stored)) stored.Dispose();
        return Own(placed);
    }

    private Tensor Own(Tensor tensor)
    {
        _owned.Add(tensor.DetachFromDisposeScope());
        return tensor;
    }

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
    }
}
