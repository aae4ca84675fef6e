namespace ArmoFlow;

/// <summary>The nearest right word for a wrong one.</summary>
internal static class DidYouMean
{
    /// <summary>A longer word is no misspelling of ours, and measuring it takes time that grows with its length.</summary>
    private const int LongestWord = 64;

    private const int MostListed = 50;

    /// <summary><c>did you mean 'helpfulness'?</c>, or a list of what there is.</summary>
    public static string Suggest(string word, IEnumerable<string> candidates)
    {
        string[] known = [.. candidates];
        return Nearest(word, known) is { } nearest
            ? $"Did you mean '{nearest}'?"
                : $"There are: {string.Join(", ", known.Take(MostListed))}{(known.Length > MostListed ? ", …" : "")}.";
    }

    /// <summary>Whether a word may be a misspelling of one of these.</summary>
    public static bool IsNear(string word, IEnumerable<string> candidates) => Nearest(word, candidates) is not null;

    private static string? Nearest(string word, IEnumerable<string> known)
    {
        string? nearest = word.Length > LongestWord ? null : known.Where(k => k.Length <= LongestWord).MinBy(k => Distance(word, k));
        return nearest is not null && Distance(word, nearest) <= Math.Max(2, word.Length / 3) ? nearest : null;
    }

    /// <summary>Levenshtein's edit distance.</summary>
    private static int Distance(string a, string b)
    {
        int[] row = [.. Enumerable.Range(0, b.Length + 1)];
        for (int i = 1; i <= a.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.Length; j++)
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)));
        }
        return row[b.Length];
    }
}
