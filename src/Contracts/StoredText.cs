using System.Buffers;
using System.Text;

namespace ArmoFlow.Contracts;

/// <summary>
/// What texts may be once they are kept: names that can be written in an address and in NAME@ALIAS, free texts of bounded length, and
/// nowhere a character that a database refuses. Names are refused where they are given; free texts are mended, since they are often
/// the only word of what went wrong.
/// </summary>
public static class StoredText
{
    /// <summary>In characters; a database's index rows end at about 2,700 bytes, and a character has up to four.</summary>
    public const int LongestName = 200, LongestTag = 100, LongestKey = 200;

    /// <summary>Tags that a run or a version may have.</summary>
    public const int MostTags = 50;

    /// <summary>Errors, reasons, notes: more of it nobody reads.</summary>
    public const int LongestFreeText = 10_000;

    private const char Replacement = '\uFFFD';
    private const string Cut = " … (cut)";

    private static readonly SearchValues<char> Suspects = SearchValues.Create([.. SuspectCharacters()]);

    /// <summary>The text without what Postgres cannot keep: NUL, and halves of surrogate pairs that stand alone.</summary>
    public static string Clean(string text)
    {
        int first = text.AsSpan().IndexOfAny(Suspects);
        if (first < 0) return text;
        StringBuilder clean = new(text, 0, first, text.Length);
        for (int i = first; i < text.Length; i++)
        {
            bool isPair = char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]);
            if (isPair) clean.Append(text[i++]).Append(text[i]);
            else clean.Append(text[i] == '\0' || char.IsSurrogate(text[i]) ? Replacement : text[i]);
        }
        return clean.ToString();
    }

    /// <summary>A free text as it is kept: clean, and cut where it is longer than anybody reads.</summary>
    public static string Bound(string text)
    {
        if (text.Length <= LongestFreeText) return Clean(text);
        return Clean(text[..(LongestFreeText - Cut.Length)]) + Cut;
    }

    /// <summary>What is wrong with a text as a name, in words that follow "expected"; null for a good one.</summary>
    public static string? WrongAsName(string text)
    {
        if (WrongAsLabel(text, LongestName) is { } expected) return expected;
        if (text is "." or "..") return "a name other than '.' and '..'";
        return text.AsSpan().ContainsAny('/', '@', '\\') ? "a name without '/', '\\' and '@'" : null;
    }

    /// <summary>The same for what only stands in lists, such as a tag or the name of a key.</summary>
    public static string? WrongAsLabel(string text, int longest)
    {
        if (text.Length == 0) return "a text that is not empty";
        if (text.Length > longest) return $"at most {longest} characters";
        if (char.IsWhiteSpace(text[0]) || char.IsWhiteSpace(text[^1])) return "no space at the beginning or end";
        return text.Any(IsUnseen) || Clean(text) != text ? "no control characters" : null;
    }

    /// <summary>True for characters that steer a terminal or turn the order of a line around instead of being seen.</summary>
    public static bool IsUnseen(char c) => char.IsControl(c)
        || c is '\u061C' or '\u200E' or '\u200F' or (>= '\u2028' and <= '\u202E') or (>= '\u2066' and <= '\u2069');

    /// <summary>The beginning of a text, for an error that names it.</summary>
    public static string Excerpt(string text, int longest = 60) => text.Length <= longest ? text : Clean(text[..longest]) + " …";

    /// <summary>The nearest name to a text, for names that nobody gave, such as a folder's.</summary>
    public static string ToName(string text)
    {
        string name = new([.. Clean(text).Select(c => IsUnseen(c) || c is '/' or '\\' or '@' ? '-' : c).Take(LongestName)]);
        name = Clean(name).Trim(); // a pair may have been cut in two
        return name is "" or "." or ".." ? "run" : name;
    }

    private static IEnumerable<char> SuspectCharacters() =>
        Enumerable.Range('\uD800', '\uDFFF' - '\uD800' + 1).Select(c => (char)c).Prepend('\0');
}
