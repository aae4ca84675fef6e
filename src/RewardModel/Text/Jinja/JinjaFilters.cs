using static ArmoFlow.RewardModel.Text.Jinja.JinjaValues;

namespace ArmoFlow.RewardModel.Text.Jinja;

/// <summary>What a filter makes of a value, its arguments, and those that are named.</summary>
internal delegate object? Filter(object? value, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> named);

/// <summary>The filters, tests and methods that chat templates use; any other is refused by name before anything is rendered.</summary>
internal static class JinjaFilters
{
    /// <summary>value | name(arguments).</summary>
    public static readonly Dictionary<string, Filter> Filters =
        new(StringComparer.Ordinal)
        {
            ["trim"] = (value, arguments, _) => Strip(TextOf(value), arguments, left: true, right: true),
            ["length"] = (value, _, _) => Count(value),
            ["count"] = (value, _, _) => Count(value),
            ["list"] = (value, _, _) => Items(value),
            ["string"] = (value, _, _) => TextOf(value),
            ["first"] = (value, _, _) => Items(value) is [var first, ..] ? first : new Undefined("the first of nothing"),
            ["last"] = (value, _, _) => Items(value) is [.., var last] ? last : new Undefined("the last of nothing"),
            ["upper"] = (value, _, _) => TextOf(value).With(text => text.ToUpperInvariant()),
            ["lower"] = (value, _, _) => TextOf(value).With(text => text.ToLowerInvariant()),
            ["capitalize"] = (value, _, _) => TextOf(value).With(Capitalize),
            ["join"] = (value, arguments, _) => Join(Items(value), arguments.Count > 0 ? TextOf(arguments[0]) : MarkedText.Empty),
            ["replace"] = (value, arguments, _) => Replace(TextOf(value), arguments),
            ["tojson"] = (value, _, named) => named.ContainsKey("indent") && named["indent"] is not null
                ? throw new JinjaException("tojson with an indent") : Marked(value),
            ["items"] = (value, _, _) => Pairs(value),
            ["default"] = Default,
            ["d"] = Default,
            ["select"] = (value, arguments, _) => Select(value, arguments, null, true),
            ["reject"] = (value, arguments, _) => Select(value, arguments, null, false),
            ["selectattr"] = (value, arguments, _) => Select(value, [.. arguments.Skip(1)], arguments[0], true),
            ["rejectattr"] = (value, arguments, _) => Select(value, [.. arguments.Skip(1)], arguments[0], false),
            ["map"] = (value, _, named) => named.TryGetValue("attribute", out object? name)
                ? (IReadOnlyList<object?>)[.. Items(value).Select(item => Member(item, name))]
                : throw new JinjaException("map without an attribute"),
        };

    /// <summary>value is name(argument).</summary>
    public static readonly Dictionary<string, Func<object?, IReadOnlyList<object?>, bool>> Tests = new(StringComparer.Ordinal)
    {
        ["defined"] = (value, _) => value is not Undefined,
        ["undefined"] = (value, _) => value is Undefined,
        ["none"] = (value, _) => value is null,
        ["string"] = (value, _) => value is MarkedText,
        ["mapping"] = (value, _) => value is IReadOnlyDictionary<string, object?>,
        ["iterable"] = (value, _) => value is MarkedText or IReadOnlyList<object?> or IReadOnlyDictionary<string, object?>,
        ["sequence"] = (value, _) => value is MarkedText or IReadOnlyList<object?> or IReadOnlyDictionary<string, object?>,
        ["number"] = (value, _) => value is long or double or bool,
        ["integer"] = (value, _) => value is long,
        ["boolean"] = (value, _) => value is bool,
        ["true"] = (value, _) => value is true,
        ["false"] = (value, _) => value is false,
        ["odd"] = (value, _) => Number(value) % 2 == 1,
        ["even"] = (value, _) => Number(value) % 2 == 0,
        ["equalto"] = (value, arguments) => JinjaValues.Equals(value, arguments[0]),
        ["eq"] = (value, arguments) => JinjaValues.Equals(value, arguments[0]),
        ["ne"] = (value, arguments) => !JinjaValues.Equals(value, arguments[0]),
        ["in"] = (value, arguments) => IsIn(value, arguments[0]),
    };

    private static readonly HashSet<string> Methods = new(StringComparer.Ordinal)
    {
        "strip", "lstrip", "rstrip", "split", "startswith", "endswith", "upper", "lower", "capitalize", "replace", "items", "keys",
        "values", "get",
    };

    /// <summary>True for a method that is known.</summary>
    public static bool IsMethod(string name) => Methods.Contains(name);

    /// <summary>value.name(arguments).</summary>
    public static object? Call(object? value, string name, IReadOnlyList<object?> arguments) => value switch
    {
        MarkedText text => OfText(text, name, arguments),
        IReadOnlyDictionary<string, object?> map => OfMap(map, name, arguments),
        Undefined undefined => throw undefined.Error,
        _ => throw new JinjaException($"no method '{name}'"),
    };

    private static object? OfText(MarkedText text, string name, IReadOnlyList<object?> arguments) => name switch
    {
        "strip" => Strip(text, arguments, left: true, right: true),
        "lstrip" => Strip(text, arguments, left: true, right: false),
        "rstrip" => Strip(text, arguments, left: false, right: true),
        "split" when arguments.Count > 0 => (IReadOnlyList<object?>)[.. text.Split(Filled(arguments[0]))],
        "startswith" => text.Value.StartsWith(RequireText(arguments[0], name).Value, StringComparison.Ordinal),
        "endswith" => text.Value.EndsWith(RequireText(arguments[0], name).Value, StringComparison.Ordinal),
        "upper" => text.With(value => value.ToUpperInvariant()),
        "lower" => text.With(value => value.ToLowerInvariant()),
        "capitalize" => text.With(Capitalize),
        "replace" => Replace(text, arguments),
        _ => throw new JinjaException($"no method '{name}' of a text"),
    };

    private static object? OfMap(IReadOnlyDictionary<string, object?> map, string name, IReadOnlyList<object?> arguments) => name switch
    {
        "items" => Pairs(map),
        "keys" => Items(map),
        "values" => (IReadOnlyList<object?>)[.. map.Values],
        "get" => map.GetValueOrDefault(RequireText(arguments[0], name).Value, arguments.Count > 1 ? arguments[1] : null),
        _ => throw new JinjaException($"no method '{name}' of an object"),
    };

    /// <summary>Python's white space, or the characters that are given.</summary>
    private static MarkedText Strip(MarkedText text, IReadOnlyList<object?> arguments, bool left, bool right)
    {
        if (arguments.Count == 0 || arguments[0] is null) return text.Strip(PythonText.IsSpace, left, right);
        string characters = RequireText(arguments[0], "strip").Value;
        return text.Strip(c => characters.Contains(c, StringComparison.Ordinal), left, right);
    }

    private static string Filled(object? value) =>
        RequireText(value, "split") is { Length: > 0 } by ? by.Value : throw new JinjaException("split by an empty text");

    private static string Capitalize(string text) =>
        text.Length == 0 ? text : char.ToUpperInvariant(text[0]) + text[1..].ToLowerInvariant();

    private static MarkedText Join(IReadOnlyList<object?> items, MarkedText between) =>
        MarkedText.Concat(items.SelectMany((item, i) => i == 0 ? new[] { TextOf(item) } : [between, TextOf(item)]));

    private static MarkedText Replace(MarkedText text, IReadOnlyList<object?> arguments)
    {
        if (arguments.Count != 2) throw new JinjaException("replace with other than two texts");
        return Join([.. text.Split(Filled(arguments[0]))], RequireText(arguments[1], "replace"));
    }

    /// <summary>JSON of a message is the message's.</summary>
    private static MarkedText Marked(object? value) => MarkedText.Message(Json(value));

    private static IReadOnlyList<object?> Pairs(object? value) => value is IReadOnlyDictionary<string, object?> map
        ? [.. map.Select(member => (IReadOnlyList<object?>)[MarkedText.Template(member.Key), member.Value])]
        : throw new JinjaException("items of what is no object");

    private static object? Default(object? value, IReadOnlyList<object?> arguments, IReadOnlyDictionary<string, object?> _)
    {
        bool alsoFalse = arguments.Count > 1 && IsTrue(arguments[1]);
        bool isKept = value is not Undefined && (!alsoFalse || IsTrue(value));
        if (isKept) return value;
        return arguments.Count > 0 ? arguments[0] : MarkedText.Empty;
    }

    private static IReadOnlyList<object?> Select(object? value, IReadOnlyList<object?> arguments, object? attribute, bool wanted)
    {
        string? name = arguments.Count > 0 ? TextOf(arguments[0]).Value : null;
        if (name is not null && !Tests.ContainsKey(name)) throw new JinjaException($"the test '{name}'");
        object?[] rest = [.. arguments.Skip(1)];
        return [.. Items(value).Where(item =>
        {
            object? tested = attribute is null ? item : Member(item, attribute);
            return (name is null ? IsTrue(tested) : Tests[name](tested, rest)) == wanted;
        })];
    }
}
