using System.Text.Json;

namespace ArmoFlow.RewardModel.Text;

/// <summary>What readers of a tokenizer.json share.</summary>
internal static class TokenizerFile
{
    /// <summary>A member that is there and not null.</summary>
    public static JsonElement? Member(JsonElement from, string name) =>
        from.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    /// <summary>A member that is true; false where it is left out.</summary>
    public static bool IsTrue(JsonElement from, string name) => Member(from, name)?.ValueKind == JsonValueKind.True;

    /// <summary>The kind of a step.</summary>
    public static string TypeOf(JsonElement step) => step.GetProperty("type").GetString() ?? "";

    /// <summary>The steps of a sequence; any other is one by itself.</summary>
    public static IEnumerable<JsonElement> Steps(JsonElement step, string member) =>
        TypeOf(step) == "Sequence" ? step.GetProperty(member).EnumerateArray().SelectMany(inner => Steps(inner, member)) : [step];

    /// <summary>True for a pattern that is this text.</summary>
    public static bool IsText(JsonElement pattern, string text) =>
        pattern.TryGetProperty("String", out JsonElement value) && value.GetString() == text;

    /// <summary>Refuses what would not be reproduced exactly.</summary>
    public static InvalidInputException Unsupported(string path, string found, string expected) =>
        new(path, found, expected, "This tokenizer cannot be reproduced exactly here; docs/backbones.md lists the kinds that can.");
}
