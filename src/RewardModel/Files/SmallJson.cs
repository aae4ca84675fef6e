using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;

namespace ArmoFlow.RewardModel.Files;

/// <summary>Reads a small JSON file that others wrote, such as a configuration: whatever is wrong with it is our own error.</summary>
internal static class SmallJson
{
    /// <param name="path">The file.</param>
    /// <param name="expected">What it should be, for the error.</param>
    /// <param name="missing">What to do where it is missing.</param>
    /// <param name="read">Makes something of the document, which is gone afterwards.</param>
    /// <exception cref="InvalidInputException">The file is missing, not JSON, or lacks what is read from it.</exception>
    public static T Read<T>(string path, string expected, string missing, Func<JsonElement, T> read)
    {
        byte[] bytes = InputFile.ReadSmall(path, expected, missing);
        if (!Utf8.IsValid(bytes)) throw Damaged(path, "bytes that are not UTF-8", expected);
        try
        {
            using JsonDocument document = JsonDocument.Parse(bytes, DuplicateFields.Refused);
            return read(document.RootElement);
        }
        catch (JsonException e) when (DuplicateFields.Is(e))
        {
            throw Damaged(path, "a key that stands twice in one object", "each once");
        }
        catch (JsonException e) when (e.LineNumber is { } line)
        {
            throw Damaged(string.Create(CultureInfo.InvariantCulture, $"{path} line {line + 1}"), "not JSON", expected);
        }
        // A member that is missing, of another kind, too large, or a text that is no Unicode.
        catch (Exception e)
            when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or OverflowException)
        {
            throw Damaged(path, "a document of another form", expected);
        }
    }

    private static InvalidInputException Damaged(string place, string found, string expected) =>
        new(place, found, expected, "The file is damaged, or another one; fetch it again.");
}
