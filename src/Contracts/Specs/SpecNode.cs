using System.Globalization;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace ArmoFlow.Contracts.Specs;

/// <summary>A YAML mapping of the spec; reads typed values and refuses what it was not asked for, with the line.</summary>
internal sealed class SpecNode
{
    private readonly Dictionary<string, (YamlNode Key, YamlNode Value)> _entries = new(StringComparer.Ordinal);
    private readonly string _file, _path;
    private readonly Mark _start;

    public SpecNode(YamlNode node, string file, string path, params string[] allowed)
    {
        _file = file;
        _path = path;
        _start = node.Start;
        if (node is not YamlMappingNode mapping)
            throw Wrong(node, Describe(node), "a mapping of keys to values", $"Write '{path}' as key: value pairs.");
        foreach ((YamlNode key, YamlNode value) in mapping.Children)
        {
            if (key is not YamlScalarNode { Value: { } name })
            {
                throw Wrong(key, $"a key that is {Describe(key)}", "a key that is a name",
                    "Write each key as a name, such as files: [ … ].");
            }
            if (allowed.Length > 0 && !allowed.Contains(name))
                throw Wrong(key, $"unknown key '{Join(name)}'", "a key of the spec", DidYouMean.Suggest(name, allowed));
            _entries[name] = (key, value);
        }
    }

    public IEnumerable<string> Keys => _entries.Keys;
    public bool Has(string key) =>
        _entries.TryGetValue(key, out (YamlNode, YamlNode Value) e) && e.Value is not YamlScalarNode { Value: null or "" or "null" or "~" };

    public string Text(string key) => Has(key) ? Scalar(key, _entries[key].Value) : throw Missing(key);
    public string? OptionalText(string key) => Has(key) ? Text(key) : null;

    /// <summary>A day as year, month and day, such as 2024-07-26.</summary>
    public DateOnly? OptionalDay(string key)
    {
        if (OptionalText(key) is not { } text) return null;
        return DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly day) ? day
            : throw Wrong(_entries[key].Value, $"'{Join(key)}: {text}'", "a day such as 2024-07-26", "Correct the value.");
    }

    public string OneOf(string key, string fallback, params string[] allowed)
    {
        string value = OptionalText(key) ?? fallback;
        return allowed.Contains(value)
            ? value
            : throw Wrong(_entries[key].Value, $"'{Join(key)}: {value}'", string.Join(", ", allowed), DidYouMean.Suggest(value, allowed));
    }

    public double Number(string key, double fallback, double min, double max, bool openMin = false)
    {
        if (!Has(key)) return fallback;
        double value = Number(key, _entries[key].Value);
        return (openMin ? value > min : value >= min) && value <= max
            ? value
            : throw Wrong(_entries[key].Value, $"'{Join(key)}: {Text(key)}'", Range(min, max, openMin), "Correct the value.");
    }

    public int Integer(string key, int fallback, int min, int max)
    {
        double value = Number(key, fallback, min, max);
        return value == Math.Floor(value)
            ? (int)value
            : throw Wrong(_entries[key].Value, $"'{Join(key)}: {Text(key)}'", "a whole number", "Correct the value.");
    }

    public long Long(string key, long fallback)
    {
        if (!Has(key)) return fallback;
        if (long.TryParse(Text(key), NumberStyles.Integer, CultureInfo.InvariantCulture, out long value) && value >= 0) return value;
        throw Wrong(_entries[key].Value, $"'{Join(key)}: {Text(key)}'", "a whole number of at least 0", "Correct the value.");
    }

    public IReadOnlyList<string> Texts(string key) => [.. Items(key).Select(n => Scalar(key, n))];

    public IReadOnlyList<double> Numbers(string key, double min) => [.. Items(key).Select(n => Number(key, n) is double v && v >= min ? v
        : throw Wrong(n, $"'{Scalar(key, n)}' in '{Join(key)}'", $"numbers of at least {min.ToString(CultureInfo.InvariantCulture)}",
            "Correct the value."))];

    public SpecNode Child(string key, params string[] allowed) =>
        new(_entries.TryGetValue(key, out (YamlNode, YamlNode Value) e) ? e.Value : throw Missing(key), _file, Join(key), allowed);
    public SpecNode? OptionalChild(string key, params string[] allowed) => Has(key) ? Child(key, allowed) : null;

    public IReadOnlyList<SpecNode> Children(string key, params string[] allowed) =>
        [.. Items(key).Select((n, i) => new SpecNode(n, _file, $"{Join(key)}[{i}]", allowed))];

    public SpecException Wrong(string key, string found, string expected, string remedy) =>
        Wrong(_entries.TryGetValue(key, out (YamlNode, YamlNode Value) e) ? e.Value : null, found, expected, remedy);

    private IEnumerable<YamlNode> Items(string key)
    {
        if (!Has(key)) return [];
        YamlNode value = _entries[key].Value;
        return value is YamlSequenceNode sequence
            ? sequence.Children
            : throw Wrong(value, $"'{Join(key)}' is {Describe(value)}", "a list", $"Write {key}: [ … ].");
    }

    private SpecException Missing(string key) => Wrong((YamlNode?)null, $"no key '{Join(key)}'", "all required keys", $"Add '{key}'.");

    private string Scalar(string key, YamlNode node) =>
        node is YamlScalarNode { Value: { } value }
            ? value
            : throw Wrong(node, $"'{Join(key)}' is {Describe(node)}", "a single value", "Correct the value.");

    private double Number(string key, YamlNode node) =>
        double.TryParse(Scalar(key, node), NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && double.IsFinite(value)
            ? value
                : throw Wrong(node, $"'{Join(key)}: {Scalar(key, node)}'", "a number", "Correct the value.");

    private SpecException Wrong(YamlNode? node, string found, string expected, string remedy) =>
        new($"{_file} line {(node?.Start ?? _start).Line}", found, expected, remedy);

    private string Join(string key) => _path.Length == 0 ? key : $"{_path}.{key}";
    private static string Describe(YamlNode node) =>
        node switch
        {
            YamlSequenceNode => "a list",
            YamlMappingNode => "a mapping",
            YamlScalarNode { Value: { } v } => $"'{v}'",
            _ => "empty"
        };
    private static string Range(double min, double max, bool openMin) =>
        string.Create(CultureInfo.InvariantCulture,
            $"{(openMin ? "more than" : "at least")} {min}{(max < double.MaxValue ? $" and at most {max}" : "")}");
}
