using System.Globalization;
using System.Text.RegularExpressions;

namespace ArmoFlow.Contracts;

/// <summary>
/// Times as people and programs give them: ISO 8601 alone. 12/11/2026 is a day in December to some and in November to others.
/// </summary>
internal static partial class IsoTime
{
    private const DateTimeStyles Styles = DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal;

    /// <summary>Reads a date, or a date and a time of day; one without a zone is UTC.</summary>
    public static bool TryParse(string text, out DateTimeOffset time)
    {
        time = default;
        return Form().IsMatch(text) && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, Styles, out time);
    }

    // A '+' in a query that was not escaped arrives as a blank.
    [GeneratedRegex(@"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)? ?(Z|z|[+\- ]\d\d:?\d\d)?)?$", RegexOptions.NonBacktracking)]
    private static partial Regex Form();
}
