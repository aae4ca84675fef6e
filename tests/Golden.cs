using System.Runtime.CompilerServices;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Shouldly;

namespace ArmoFlow.Tests;

/// <summary>
/// What is kept elsewhere, or read by others, in the form it had before: files in the folder Golden beside the test.
/// ARMOFLOW_WRITE_GOLDEN=1 writes them anew; then the change is for the reviewer to see.
/// </summary>
internal static partial class Golden
{
    private static readonly JsonSerializerOptions Readable =
        new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static void Check(string name, JsonNode found, [CallerFilePath] string test = "")
    {
        string path = Path.Combine(Path.GetDirectoryName(test)!, "Golden", name), text = found.ToJsonString(Readable) + "\n";
        if (Environment.GetEnvironmentVariable("ARMOFLOW_WRITE_GOLDEN") == "1") File.WriteAllText(path, text);
        text.ShouldBe(File.Exists(path) ? File.ReadAllText(path) : "",
            $"{name}: workspaces and readers know the old form. ARMOFLOW_WRITE_GOLDEN=1 writes it anew");
    }

    /// <summary>The same for the members that the file has; those that have come since are let be until it is written anew.</summary>
    public static void CheckKnown(string name, JsonObject found, [CallerFilePath] string test = "")
    {
        string path = Path.Combine(Path.GetDirectoryName(test)!, "Golden", name);
        bool isWritten = Environment.GetEnvironmentVariable("ARMOFLOW_WRITE_GOLDEN") == "1";
        if (!isWritten && File.Exists(path))
        {
            JsonObject known = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
            foreach (string added in found.Select(m => m.Key).Where(k => !known.ContainsKey(k)).ToList()) found.Remove(added);
        }
        Check(name, found, test);
    }

    /// <summary>Names and kinds without the values: an array stands by what its elements have together.</summary>
    public static JsonNode Shape(JsonNode? node) => node switch
    {
        JsonObject members => new JsonObject(members.Select(m => KeyValuePair.Create(m.Key, (JsonNode?)Shape(m.Value)))),
        JsonArray { Count: 0 } => new JsonArray(),
        JsonArray elements => new JsonArray(elements.Select(Shape).Aggregate(Together)),
        null => "null",
        _ => node.GetValueKind() switch
        {
            JsonValueKind.Number => "number",
            JsonValueKind.String => "string",
            _ => "boolean",
        },
    };

    private static JsonNode Together(JsonNode one, JsonNode other)
    {
        switch (one, other)
        {
            case (JsonObject left, JsonObject right):
                JsonObject both = new(left.Select(m => KeyValuePair.Create(m.Key,
                    (JsonNode?)(right[m.Key] is { } same ? Together(m.Value!, same) : m.Value!.DeepClone()))));
                foreach ((string key, JsonNode? value) in right.Where(m => !left.ContainsKey(m.Key))) both.Add(key, value!.DeepClone());
                return both;
            case (JsonArray left, JsonArray right) when left.Count > 0 && right.Count > 0:
                return new JsonArray(Together(left[0]!, right[0]!));
            case (JsonArray left, JsonArray right):
                return (left.Count > 0 ? left : right).DeepClone();
            default:
                string[] kinds = [.. $"{one}|{other}".Split('|').Distinct().Order(StringComparer.Ordinal)];
                return string.Join('|', kinds);
        }
    }

    /// <summary>The text with every SHA-256 replaced, since floats differ from machine to machine.</summary>
    public static string WithoutDigests(string text) => Digest().Replace(text, "SHA-256");

    [GeneratedRegex("[0-9a-f]{64}")]
    private static partial Regex Digest();
}
