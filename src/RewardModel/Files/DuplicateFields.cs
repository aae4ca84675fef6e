using System.Text.Json;

namespace ArmoFlow.RewardModel.Files;

/// <summary>A field that stands twice in one JSON object: the library would take the last, and nobody could know which counts.</summary>
internal static class DuplicateFields
{
    /// <summary>Has the parser refuse them.</summary>
    public static JsonDocumentOptions Refused { get; } = new() { AllowDuplicateProperties = false };

    /// <summary>Whether that is what the parser found; it has no other way to say so.</summary>
    public static bool Is(JsonException fault) => fault.Message.StartsWith("Duplicate property", StringComparison.Ordinal);
}
