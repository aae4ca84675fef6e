using ArmoFlow.Persistence.Artifacts;

namespace ArmoFlow.Persistence.Features;

/// <summary>Where a feature lies.</summary>
/// <param name="Shard">The artifact.</param>
/// <param name="Row">The row of its tensor.</param>
public readonly record struct FeaturePlace(string Shard, int Row);

/// <summary>
/// Where all features of a space lie, as of when they were loaded: some 24 bytes each. A shard that is gone from the store, or damaged,
/// does not count.
/// </summary>
public sealed class FeaturePlaces
{
    private readonly ArtifactStore _artifacts;
    private readonly List<string> _shards = [];
    private readonly Dictionary<string, int> _shardNumbers = [];
    private readonly Dictionary<int, bool> _isSound = [];
    private readonly Table _responses, _prompts;

    internal FeaturePlaces(ArtifactStore artifacts, int responses, int prompts)
    {
        _artifacts = artifacts;
        _responses = new Table(responses);
        _prompts = new Table(prompts);
    }

    /// <summary>How many features there are.</summary>
    public int Count => _responses.Count + _prompts.Count;

    internal void Add(FeatureKind kind, FeatureKey key, string shard, int row)
    {
        if (!_shardNumbers.TryGetValue(shard, out int number))
        {
            _shardNumbers[shard] = number = _shards.Count;
            _shards.Add(shard);
        }
        Of(kind).Add(key, number, row);
    }

    internal void Sort()
    {
        _responses.Sort();
        _prompts.Sort();
    }

    /// <summary>Whether there is such a feature.</summary>
    public async ValueTask<bool> Has(FeatureKind kind, FeatureKey key, CancellationToken cancel) =>
        await Find(kind, key, cancel) is not null;

    /// <summary>Where it lies; null for nowhere.</summary>
    public async ValueTask<FeaturePlace?> Find(FeatureKind kind, FeatureKey key, CancellationToken cancel)
    {
        foreach ((int shard, int row) in Of(kind).Find(key))
            if (await IsSound(shard, cancel)) return new FeaturePlace(_shards[shard], row);
        return null;
    }

    private Table Of(FeatureKind kind) => kind == FeatureKind.Response ? _responses : _prompts;

    private async ValueTask<bool> IsSound(int shard, CancellationToken cancel)
    {
        if (_isSound.TryGetValue(shard, out bool known)) return known;
        return _isSound[shard] = await _artifacts.IsSound(_shards[shard], cancel: cancel);
    }

    /// <summary>Keys in order, and beside each where it lies.</summary>
    private sealed class Table(int expected)
    {
        private UInt128[] _keys = new UInt128[expected];
        private (int Shard, int Row)[] _places = new (int, int)[expected];

        public int Count { get; private set; }

        public void Add(FeatureKey key, int shard, int row)
        {
            if (Count == _keys.Length) // others have been entered since they were counted
            {
                Array.Resize(ref _keys, Math.Max(16, 2 * Count));
                Array.Resize(ref _places, _keys.Length);
            }
            _keys[Count] = key.Value;
            _places[Count++] = (shard, row);
        }

        public void Sort() => Array.Sort(_keys, _places, 0, Count);

        public IEnumerable<(int Shard, int Row)> Find(FeatureKey key)
        {
            int at = Array.BinarySearch(_keys, 0, Count, key.Value);
            while (at > 0 && _keys[at - 1] == key.Value) at--;
            for (; at >= 0 && at < Count && _keys[at] == key.Value; at++) yield return _places[at];
        }
    }
}
