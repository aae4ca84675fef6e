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
            if (names.Length == 1) return Take(prefix + names[0] + part);
            Tensor[] parts = [.. names.Select(name => Placed(prefix + name + part))];
            Tensor whole = cat(parts, 0);
            foreach (Tensor one in parts) one.Dispose();
            return Own(whole);
        }
    }

    private Tensor Take(string name) => Own(Placed(name));

    private Tensor Placed(string name)
    {
        Tensor stored = _checkpoint.Load(name, _shapes[name]);
        Tensor placed = _convertTo is { } type ? stored.to(type, _device) : stored.to(_device);
        if (!ReferenceEquals(placed, stored)) stored.Dispose();
        return placed;
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
