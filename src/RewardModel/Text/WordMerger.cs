namespace ArmoFlow.RewardModel.Text;

/// <summary>
/// Byte-pair merges of one word in time n log n, by a heap of pairs: the lowest rank first, and of equal ranks the leftmost, as the
/// definition demands. The library's own loop looks at every pair for every merge, which for one word of 400,000 letters takes hours,
/// and knows no merges but by the tokens that they make.
/// </summary>
/// <param name="rankOf">Token (in the byte alphabet) → id, which is its rank.</param>
/// <param name="merges">The pairs that may be merged; null where these are all whose two parts and whole are tokens.</param>
/// <param name="takesWholeWords">Whether a word of the vocabulary is taken as it is, without merges ('ignore_merges').</param>
internal sealed class WordMerger(
    Dictionary<string, int> rankOf,
    HashSet<(int Left, int Right)>? merges,
    bool takesWholeWords)
{
    private const int StepsBetweenLooks = 4096;
    private readonly Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> _rankOf = rankOf.GetAlternateLookup<ReadOnlySpan<char>>();
    private readonly int _longest = rankOf.Keys.Max(k => k.Length);

    /// <summary>A word's ids.</summary>
    /// <param name="word">Its bytes, in the byte alphabet: a character for each.</param>
    /// <param name="into">Receives them.</param>
    /// <param name="cancel">Looked at every few thousand merges.</param>
    public void Merge(string word, List<int> into, CancellationToken cancel)
    {
        if (takesWholeWords && rankOf.TryGetValue(word, out int whole))
        {
            into.Add(whole);
            return;
        }
        int[] next = [.. Enumerable.Range(1, word.Length)], before = [.. Enumerable.Range(-1, word.Length)];
        int[] end = [.. Enumerable.Range(1, word.Length)]; // of the part that begins here; 0 once it belongs to the one before it
        PriorityQueue<(int Left, int End), (int Rank, int Left)> pairs = new();
        for (int i = 0; i < word.Length; i++) Offer(i);
        for (int step = 1; pairs.TryDequeue(out (int Left, int End) pair, out _); step++)
        {
            if (step % StepsBetweenLooks == 0) cancel.ThrowIfCancellationRequested();
            int left = pair.Left, right = next[left];
            bool isStale = end[left] == 0 || right >= word.Length || end[right] != pair.End;
            if (isStale) continue;
            (end[left], end[right]) = (end[right], 0);
            next[left] = next[right];
            if (next[left] < word.Length) before[next[left]] = left;
            Offer(left);
            if (before[left] >= 0) Offer(before[left]);
        }
        for (int i = 0; i < word.Length; i = next[i]) into.Add(_rankOf[word.AsSpan(i, end[i] - i)]);

        void Offer(int left)
        {
            int right = next[left];
            if (right >= word.Length || end[right] - left > _longest) return;
            if (!_rankOf.TryGetValue(word.AsSpan(left, end[right] - left), out int rank) || !MayMerge(left, right)) return;
            pairs.Enqueue((left, end[right]), (rank, left));
        }

        bool MayMerge(int left, int right) => merges is null
            || merges.Contains((_rankOf[word.AsSpan(left, right - left)], _rankOf[word.AsSpan(right, end[right] - right)]));
    }
}
