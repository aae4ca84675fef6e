using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// Memory for large matrices that are needed again and again, kept from one use to the next: the allocator would leave holes of their
/// size, or give it back to the system, which clears every page that it gives anew.
/// </summary>
/// <param name="type">The type of all.</param>
/// <param name="device">Where they lie.</param>
internal sealed class Workspace(ScalarType type, Device device) : IDisposable
{
    private readonly Dictionary<string, Tensor> _kept = [];

    /// <summary>A matrix with whatever was there before; it is good until the next one for the same use.</summary>
    /// <param name="use">What it is for.</param>
    /// <param name="rows">How many rows.</param>
    /// <param name="columns">How many columns.</param>
    public Tensor Matrix(string use, long rows, long columns)
    {
        Tensor? kept = _kept.GetValueOrDefault(use);
        if (kept is null || kept.shape[0] < rows * columns)
        {
            _kept.Remove(use); // first: the next line may find no memory
            kept?.Dispose();
            _kept[use] = kept = empty([rows * columns], type, device).DetachFromDisposeScope();
        }
        return kept.narrow(0, 0, rows * columns).view(rows, columns);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (Tensor kept in _kept.Values) kept.Dispose();
    }
}
