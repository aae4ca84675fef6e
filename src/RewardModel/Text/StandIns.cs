using System.Globalization;
using System.Text;

namespace ArmoFlow.RewardModel.Text;

/// <summary>
/// .NET's regular expressions see two halves where a character lies beyond the first 65,536, and none of them is a letter or a digit.
/// For matching, such a character is replaced by one of the same category that they see whole.
/// </summary>
internal static class StandIns
{
    private static readonly Dictionary<UnicodeCategory, char> ByCategory = Enumerable.Range(0x2000, 0xD800 - 0x2000)
        .Concat(Enumerable.Range(0, 0x2000)) // late ones first: no pattern names them
        .GroupBy(c => CharUnicodeInfo.GetUnicodeCategory((char)c))
        .ToDictionary(g => g.Key, g => (char)g.First());

    /// <summary>The text to match, and where each of its characters stands in the text given; null where they are the same.</summary>
    public static (string Matched, int[]? Places) Of(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\uD800', '\uDFFF')) return (text, null);
        StringBuilder matched = new(text.Length);
        List<int> places = new(text.Length + 1);
        for (int i = 0; i < text.Length;)
        {
            bool isRune = Rune.TryGetRuneAt(text, i, out Rune rune);
            places.Add(i);
            matched.Append(isRune ? Of(rune) : '\uFFFD');
            i += isRune ? rune.Utf16SequenceLength : 1;
        }
        places.Add(text.Length);
        return (matched.ToString(), [.. places]);
    }

    private static char Of(Rune rune) => rune.IsBmp ? (char)rune.Value : ByCategory[Rune.GetUnicodeCategory(rune)];
}
