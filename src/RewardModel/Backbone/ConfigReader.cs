using System.Text.Json;
using ArmoFlow.RewardModel.Files;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// Reads a config.json of transformers, key by key. A key that changes what is computed is read, or must have the value for which it
/// changes nothing; whatever else there is passes.
/// </summary>
/// <param name="path">The file, for errors.</param>
/// <param name="root">Its contents.</param>
internal abstract class ConfigReader(string path, JsonElement root)
{
    private const string Remedy = "Use a checkpoint of a family that is computed; docs/backbones.md lists them.";

    /// <summary>The file's contents.</summary>
    protected JsonElement Root { get; } = root;

    /// <summary>What config.json calls its architecture.</summary>
    /// <param name="path">The file.</param>
    /// <param name="known">The architectures that are computed here.</param>
    /// <exception cref="InvalidInputException">The file is missing, not JSON, or of another architecture.</exception>
    public static string ModelType(string path, IReadOnlyList<string> known) =>
        Open(path, root => new ModelTypeReader(path, root).Read(known));

    /// <summary>Reads a file that must hold an object.</summary>
    protected static T Open<T>(string path, Func<JsonElement, T> read) => SmallJson.Read(path, "a Hugging Face config.json",
        "Point 'backbone.path' at a Hugging Face model folder.", read);

    private sealed class ModelTypeReader(string path, JsonElement root) : ConfigReader(path, root)
    {
        public string Read(IReadOnlyList<string> known)
        {
            RequireObject();
            string found = Text(Root, "model_type") ?? throw Missing("model_type");
            string expected = string.Join(" or ", known.Select(name => $"'{name}'"));
            return known.Contains(found) ? found : throw Unsupported($"model_type '{found}'", expected);
        }
    }

    protected void RequireObject()
    {
        if (Root.ValueKind != JsonValueKind.Object) throw Unusable("config.json", Root, "an object");
    }

    /// <summary>A whole number above 0 that must be there.</summary>
    protected int Count(string name) => Whole(Root, name) ?? throw Missing(name);

    protected double Need(string place, JsonElement from, string name) => Positive(from, name, place) ?? throw Missing($"{place}.{name}");

    protected void RequireText(string name, string[] allowed, bool isRequired)
    {
        if (Text(Root, name) is not { } text)
        {
            if (isRequired) throw Missing(name);
            return;
        }
        if (!allowed.Contains(text)) throw Unsupported($"{name} '{text}'", $"'{allowed[0]}'");
    }

    protected void RequireNothing(string name, string expected)
    {
        if (Member(Root, name) is not null) throw Unsupported($"the key {name}", expected);
    }

    /// <summary>A member that is there and not null.</summary>
    protected static JsonElement? Member(JsonElement from, string name) =>
        from.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    protected string? Text(JsonElement from, string name, string? place = null)
    {
        if (Member(from, name) is not { } value) return null;
        return value.ValueKind == JsonValueKind.String ? value.GetString() : throw Unusable(Full(place, name), value, "a text");
    }

    protected int? Whole(JsonElement from, string name, string? place = null)
    {
        if (Member(from, name) is not { } value) return null;
        bool isCount = value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int found) && found > 0;
        return isCount ? value.GetInt32() : throw Unusable(Full(place, name), value, "a whole number above 0");
    }

    protected int? WholeFromZero(string name)
    {
        if (Member(Root, name) is not { } value) return null;
        bool isCount = value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int found) && found >= 0;
        return isCount ? value.GetInt32() : throw Unusable(name, value, "a whole number from 0 up");
    }

    protected double? Positive(JsonElement from, string name, string? place = null)
    {
        if (Member(from, name) is not { } value) return null;
        bool isPositive =
            value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double found) && found > 0 && double.IsFinite(found);
        return isPositive ? value.GetDouble() : throw Unusable(Full(place, name), value, "a number above 0");
    }

    protected static string Full(string? place, string name) => place is null ? name : $"{place}.{name}";

    protected InvalidInputException Missing(string name) =>
        new(path, $"no key '{name}'", "the keys of a config.json of its family", "Fetch the file again.");

    protected InvalidInputException Unusable(string name, JsonElement value, string expected) =>
        new(path, $"{name} that is {value.GetRawText()}", expected, "Fetch the file again.");

    protected InvalidInputException Conflict(string name, double value, string other, double otherValue) =>
        Unsupported(FormattableString.Invariant($"{name} {value} beside {other} {otherValue}"), "one value");

    protected InvalidInputException Unsupported(string found, string expected) => new(path, found, expected, Remedy);
}
