using System.Globalization;
using System.Text;
using System.Text.Json;
using ArmoFlow.RewardModel.Files;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>
/// Turns the text of one row into its fields. Two things that other programs write and JSON does not have are read: halves of surrogate
/// pairs, which become U+FFFD and are counted, and NaN or Infinity, which may stand in a column that nobody reads.
/// </summary>
internal static class JsonRow
{
    private const int PartShown = 40;
    private const string NotFinite = "$notFinite";
    private static readonly string[] NotFiniteWords = ["NaN", "Infinity", "-Infinity"];

    /// <summary>What stands for a number that JSON cannot hold, until somebody reads it.</summary>
    public static System.Text.Json.Nodes.JsonNode OfNotFinite(string word) => new System.Text.Json.Nodes.JsonObject { [NotFinite] = word };

    /// <summary>NaN or Infinity where a value is one; else null.</summary>
    public static string? NotFiniteWord(JsonElement value) =>
        value.ValueKind == JsonValueKind.Object && value.TryGetProperty(NotFinite, out JsonElement word) ? word.ToString() : null;

    /// <param name="text">The row.</param>
    /// <param name="place">Where it stands.</param>
    /// <param name="isData">Whether a row was read of the file before: if not, it may be any file, whose text is nobody's to see.</param>
    /// <param name="unit">What the row is there: the line, the item.</param>
    /// <exception cref="InvalidInputException">The text is no JSON object.</exception>
    public static SourceRow Parse(string text, string place, bool isData, string unit)
    {
        int replaced = 0;
        if (text.Contains("\\ud", StringComparison.OrdinalIgnoreCase)) text = Mend(text, out replaced);
        JsonElement element;
        try
        {
            element = ParseMended(text);
        }
        catch (JsonException e)
        {
            throw NotJson(e, text, place, isData, unit);
        }
        return element.ValueKind == JsonValueKind.Object ? new SourceRow(place, element) { Replaced = replaced }
            : throw new InvalidInputException(place, $"a JSON {element.ValueKind}", "a JSON object", "Give one object for each row.");
    }

    /// <summary>Whether a text ends before the objects that it opens do, and not within a text of its own.</summary>
    public static bool IsOpen(string line)
    {
        int depth = 0;
        bool isText = false;
        for (int at = 0; at < line.Length; at++)
        {
            if (isText && line[at] == '\\') at++;
            else if (line[at] == '"') isText = !isText;
            else if (!isText && line[at] is '{' or '[') depth++;
            else if (!isText && line[at] is '}' or ']') depth--;
        }
        return depth > 0 && !isText;
    }

    private static JsonElement ParseMended(string text)
    {
        try { return JsonElement.Parse(text, DuplicateFields.Refused); }
        catch (JsonException) when (NotFiniteWords.Any(word => text.Contains(word, StringComparison.Ordinal)))
        {
            return JsonElement.Parse(Mend(text, out _), DuplicateFields.Refused);
        }
    }

    private static InvalidInputException NotJson(JsonException e, string text, string place, bool isData, string unit)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        if (DuplicateFields.Is(e))
        {
            return new InvalidInputException(place, "a field that stands twice in one object", "each once",
                $"Correct {unit}: nobody can know which of the two counts.");
        }
        int at = (int)Math.Clamp(Offset(bytes, e), 0, bytes.Length);
        string rest = Encoding.UTF8.GetString(bytes, at, Math.Min(PartShown, bytes.Length - at));
        if (e.Message.Contains("maximum configured depth", StringComparison.Ordinal))
        {
            return new InvalidInputException(place, "values that are nested more than 64 deep", "one JSON object",
                "Check that the file is the right one.");
        }
        bool isCut = text.TrimStart().StartsWith('{') && (rest.Length == 0 || !text.TrimEnd().EndsWith('}'));
        return isCut
            ? new InvalidInputException(place, $"not JSON: {unit} breaks off after {bytes.Length} bytes", "a whole JSON object",
                "The file was cut; fetch it again.")
            : new InvalidInputException(place, $"not JSON at byte {at + 1} {(isData ? $"('{rest}')" : "of its first row")}",
                "one JSON object", $"Correct {unit}.");
    }

    /// <summary>Bytes before the fault; the parser counts them from the beginning of a line.</summary>
    private static long Offset(byte[] bytes, JsonException e)
    {
        long line = e.LineNumber ?? 0, at = 0;
        for (; line > 0 && at < bytes.Length; at++)
            if (bytes[at] == '\n') line--;
        return at + (e.BytePositionInLine ?? 0);
    }

    /// <summary>Replaces half surrogate pairs within texts, and words for numbers that are not finite outside of them.</summary>
    private static string Mend(string text, out int replaced)
    {
        replaced = 0;
        StringBuilder mended = new(text.Length);
        bool isText = false;
        for (int at = 0; at < text.Length;)
        {
            int length = 1;
            if (text[at] == '"') isText = !isText;
            else if (isText && text[at] == '\\') length = EscapeLength(text, at);
            else if (!isText && NotFiniteWords.FirstOrDefault(w => string.CompareOrdinal(text, at, w, 0, w.Length) == 0) is { } word)
            {
                mended.Append(CultureInfo.InvariantCulture, $"{{\"{NotFinite}\":\"{word}\"}}");
                at += word.Length;
                continue;
            }
            length = Math.Min(length, text.Length - at);
            if (length == HalfPair && IsSurrogate(text, at))
            {
                mended.Append("\\ufffd");
                replaced++;
            }
            else mended.Append(text, at, length);
            at += length;
        }
        return mended.ToString();
    }

    private const int HalfPair = 6; // \udXXX

    /// <summary>Characters of the escape that begins here; a whole surrogate pair is one.</summary>
    private static int EscapeLength(string text, int at)
    {
        if (CodeUnit(text, at) is not { } unit) return 2;
        bool isPair = char.IsHighSurrogate(unit) && CodeUnit(text, at + HalfPair) is { } next && char.IsLowSurrogate(next);
        return isPair ? 2 * HalfPair : HalfPair;
    }

    private static bool IsSurrogate(string text, int at) => CodeUnit(text, at) is { } unit && char.IsSurrogate(unit);

    private static char? CodeUnit(string text, int at) =>
        at + HalfPair <= text.Length && text[at] == '\\' && text[at + 1] == 'u'
            && ushort.TryParse(text.AsSpan(at + 2, 4), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort unit)
            ? (char)unit
            : null;
}
