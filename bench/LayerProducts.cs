using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// The products of a model's layers and nothing else: each layer with weights of its own, as a pass has them, and results written into
/// memory that is there. What a machine reaches here is the limit of a forward pass.
/// </summary>
internal sealed class LayerProducts : IDisposable
{
    private const int KeysAndValues = 2 * BenchCheckpoint.KeyValueHeads * BenchCheckpoint.HeadSize;
    private readonly DisposeScope _scope = NewDisposeScope();
    private readonly Tensor[][] _layers;
    private readonly Tensor _input, _output;

    /// <param name="shape">The model.</param>
    /// <param name="type">The type to compute in.</param>
    /// <param name="mostRows">The most rows of a pass.</param>
    public LayerProducts(BenchCheckpoint shape, ScalarType type, long mostRows)
    {
        const long Widest = 2 * BenchCheckpoint.Intermediate;
        _layers = [.. Enumerable.Range(0, shape.Layers)
            .Select(_ => BenchCheckpoint.Products.Select(p => randn([p.Out, p.In]).to(type)).ToArray())];
        _input = randn([mostRows * Widest]).to(type);
        _output = zeros([mostRows * Widest], type);
    }

    /// <summary>A pass: in the last layer, queries and what follows them only for the rows that are read.</summary>
    public void Run(long rows, long reads)
    {
        foreach (Tensor weight in _layers.SkipLast(1).SelectMany(layer => layer)) Product(weight, rows);
        Tensor[] last = _layers[^1];
        using Tensor queries = last[0].narrow(0, 0, BenchCheckpoint.Hidden);
        using Tensor keysAndValues = last[0].narrow(0, BenchCheckpoint.Hidden, KeysAndValues);
        Product(queries, reads);
        Product(keysAndValues, rows);
        foreach (Tensor weight in last[1..]) Product(weight, reads);
    }

    private void Product(Tensor weight, long rows)
    {
        using DisposeScope product = NewDisposeScope();
        Matrix(_output, rows, weight.shape[0]).addmm_(Matrix(_input, rows, weight.shape[1]), weight.t(), beta: 0, alpha: 1);
    }

    private static Tensor Matrix(Tensor memory, long rows, long columns) => memory.narrow(0, 0, rows * columns).view(rows, columns);

    /// <inheritdoc/>
    public void Dispose() => _scope.Dispose();
}
