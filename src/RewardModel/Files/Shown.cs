using System.Globalization;

namespace ArmoFlow;

/// <summary>
/// What stands in somebody's file or spec, as a message shows it: megabytes in one cell must not travel into errors, the audit trail,
/// lists and messages.
/// </summary>
internal static class Shown
{
    /// <summary>Characters of what was found.</summary>
    public const int MostFound = 200;

    /// <summary>Characters of a place, which may hold a path, and of a remedy, which may hold a list of names.</summary>
    public const int MostOfOthers = 1500;

    /// <summary>The text, or its beginning and its length.</summary>
    public static string Cut(string text, int most)
    {
        if (text.Length <= most) return text;
        int end = char.IsHighSurrogate(text[most - 1]) ? most - 1 : most;
        return string.Create(CultureInfo.InvariantCulture, $"{text.AsSpan(0, end)} … ({text.Length:N0} characters)");
    }
}
