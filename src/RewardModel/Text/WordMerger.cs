namespace ArmoFlow.RewardModel.Text;

/// <summary>
/// Byte-pair merges of one word in time n log n, by a heap of pairs: the lowest rank first, and of equal ranks the leftmost, as the
/// definition demands.
/// </summary>
/// <param name="merges">Two tokens → what they become.</param>
internal sealed class WordMerger(IReadOnlyDictionary<(int Left, int Right), Merge> merges)
{
    private const int StepsBetweenLooks = 4096, None = -1;

    /// <summary>A word's ids.</summary>
    /// <param name="symbols">The ids of its smallest parts; overwritten.</param>
    /// <param name="into">Receives them.</param>
    /// <param name="cancel">Looked at every few thousand merges.</param>
    public void Merge(Span<int> symbols, List<int> into, CancellationToken cancel)
    {
        int count = symbols.Length;
        int[] next = new int[count], before = new int[count];
        for (int i = 0; i < count; i++)
        {
            next[i] = i + 1;
            before[i] = i - 1;
        }
        PriorityQueue<(int Left, int Whole), (int Rank, int Left)> pairs = new();
        for (int i = 0; i < count; i++) Offer(symbols, i);
        for (int step = 1; pairs.TryDequeue(out (int Left, int Whole) pair, out _); step++)
        {
            if (step % StepsBetweenLooks == 0) cancel.ThrowIfCancellationRequested();
            int left = pair.Left, right = next[left];
            if (Whole(symbols, left) != pair.Whole) continue; // one of the two has been merged with another since
            symbols[left] = pair.Whole;
            symbols[right] = None; // it belongs to the one before it
            next[left] = next[right];
            if (next[left] < count) before[next[left]] = left;
            Offer(symbols, left);
            if (before[left] >= 0) Offer(symbols, before[left]);
        }
        for (int i = 0; i < count; i = next[i]) into.Add(symbols[i]);

        void Offer(Span<int> symbols, int left)
        {
            int right = next[left];
            if (right < count && merges.TryGetValue((symbols[left], symbols[right]), out Merge merge))
                pairs.Enqueue((left, merge.Whole), (merge.Rank, left));
        }

        int Whole(Span<int> symbols, int left)
        {
            int right = next[left];
            return right < count && merges.TryGetValue((symbols[left], symbols[right]), out Merge merge) ? merge.Whole : None;
        }
    }
}
