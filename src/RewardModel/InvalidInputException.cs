namespace ArmoFlow.RewardModel;

/// <summary>What a user can cause and mend: names the place, what was found there, what was expected, and the remedy.</summary>
/// <param name="place">File and, where there is one, row and column: <c>ratings/judge.jsonl line 17</c>.</param>
/// <param name="found">What stands there.</param>
/// <param name="expected">What should stand there.</param>
/// <param name="remedy">What to do about it, as a sentence.</param>
public sealed class InvalidInputException(string place, string found, string expected, string remedy)
    : Exception($"{place}: {found}; expected {expected}. {remedy}")
{
    public string Place { get; } = place;

    /// <summary>Set where the row itself is whole but worthless (an empty response, identical sides): a source may tolerate a small share of these.</summary>
    public string? StrayRow { get; init; }
}

/// <summary>The nearest right word for a wrong one.</summary>
public static class DidYouMean
{
    /// <summary><c>did you mean 'helpfulness'?</c>, or a list of what there is.</summary>
    public static string Suggest(string word, IEnumerable<string> candidates)
    {
        string[] known = [.. candidates];
        string? nearest = known.MinBy(k => Distance(word, k));
        return nearest is not null && Distance(word, nearest) <= Math.Max(2, word.Length / 3)
            ? $"Did you mean '{nearest}'?" : $"There are: {string.Join(", ", known)}.";
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
