using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace ArmoFlow.RewardModel.Text.Jinja;

/// <summary>What values are to Python: text is <see cref="MarkedText"/>, numbers are long or double, lists and dictionaries ours.</summary>
internal static class JinjaValues
{
    private static readonly JsonSerializerOptions Compact = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static bool IsTrue(object? value) => value switch
    {
        null or Undefined => false,
        bool flag => flag,
        long number => number != 0,
        double number => number != 0,
        MarkedText text => text.Length > 0,
        IReadOnlyList<object?> list => list.Count > 0,
        IReadOnlyDictionary<string, object?> map => map.Count > 0,
        _ => true,
    };

    /// <summary>As print shows it.</summary>
    public static MarkedText TextOf(object? value) => value switch
    {
        MarkedText text => text,
        null => MarkedText.Template("None"),
        Undefined => MarkedText.Empty,
        bool flag => MarkedText.Template(flag ? "True" : "False"),
        long number => MarkedText.Template(number.ToString(CultureInfo.InvariantCulture)),
        double number => MarkedText.Template(number.ToString("R", CultureInfo.InvariantCulture)),
        _ => throw new JinjaException("a list or an object that is printed"),
    };

    public static MarkedText RequireText(object? value, string what) => value switch
    {
        MarkedText text => text,
        Undefined undefined => throw undefined.Error,
        _ => throw new JinjaException($"{what} of what is no text"),
    };

    public static long RequireWhole(object? value, string what) =>
        value is long number ? number : throw new JinjaException($"{what} that is no whole number");

    public static new bool Equals(object? a, object? b) => (a, b) switch
    {
        (null, null) or (Undefined, Undefined) => true,
        (MarkedText x, MarkedText y) => x.Value == y.Value,
        (bool x, bool y) => x == y,
        (long or double or bool, long or double or bool) => Number(a) == Number(b),
        (IReadOnlyList<object?> x, IReadOnlyList<object?> y) => x.Count == y.Count && x.Zip(y, Equals).All(same => same),
        (IReadOnlyDictionary<string, object?> x, IReadOnlyDictionary<string, object?> y) =>
            x.Count == y.Count && x.All(member => y.TryGetValue(member.Key, out object? other) && Equals(member.Value, other)),
        _ => false,
    };

    public static int Compare(object? a, object? b) => (a, b) switch
    {
        (MarkedText x, MarkedText y) => string.CompareOrdinal(x.Value, y.Value),
        (long or double or bool, long or double or bool) => Number(a).CompareTo(Number(b)),
        _ => throw new JinjaException("a comparison of values of different kinds"),
    };

    public static double Number(object? value) => value switch
    {
        long number => number,
        double number => number,
        bool flag => flag ? 1 : 0,
        Undefined undefined => throw undefined.Error,
        _ => throw new JinjaException("arithmetic with what is no number"),
    };

    public static bool IsIn(object? item, object? container) => container switch
    {
        MarkedText text => text.Value.Contains(RequireText(item, "'in'").Value, StringComparison.Ordinal),
        IReadOnlyList<object?> list => list.Any(other => Equals(item, other)),
        IReadOnlyDictionary<string, object?> map => item is MarkedText key && map.ContainsKey(key.Value),
        Undefined => false,
        _ => throw new JinjaException("'in' of what holds nothing"),
    };

    public static IReadOnlyList<object?> Items(object? value) => value switch
    {
        IReadOnlyList<object?> list => list,
        IReadOnlyDictionary<string, object?> map => [.. map.Keys.Select(MarkedText.Template)],
        MarkedText text => [.. Enumerable.Range(0, text.Length).Select(i => text.Slice(i, i + 1))],
        Undefined => [],
        _ => throw new JinjaException("a loop over what holds nothing"),
    };

    public static long Count(object? value) => value is Undefined ? 0 : Items(value).Count;

    /// <summary>x.name or x[name]: undefined where there is none.</summary>
    public static object? Member(object? value, object? key)
    {
        switch (value, key)
        {
            case (Undefined undefined, _):
                throw undefined.Error;
            case (IReadOnlyDictionary<string, object?> map, MarkedText name):
                return map.TryGetValue(name.Value, out object? found) ? found : new Undefined(name.Value);
            case (Namespace space, MarkedText name):
                return space.Members.TryGetValue(name.Value, out object? member) ? member : new Undefined(name.Value);
            case (MarkedText or IReadOnlyList<object?>, long index):
                IReadOnlyList<object?> items = Items(value);
                long at = index < 0 ? index + items.Count : index;
                return at >= 0 && at < items.Count ? items[(int)at] : new Undefined($"item {index}");
            default:
                return new Undefined(key is MarkedText other ? other.Value : "a member");
        }
    }

    /// <summary>x[from:to:step] as Python has it.</summary>
    public static object? Slice(object? value, long? from, long? to, long step)
    {
        if (value is Undefined undefined) throw undefined.Error;
        if (step == 0) throw new JinjaException("a slice with step 0");
        int count = value is MarkedText whole ? whole.Length : Items(value).Count;
        List<int> places = [];
        if (step > 0) for (long i = Bound(from, 0); i < Bound(to, count); i += step) places.Add((int)i);
        else for (long i = Bound(from, count - 1, -1); i > Bound(to, -1, -1); i += step) places.Add((int)i);
        if (value is not MarkedText text) return (IReadOnlyList<object?>)[.. places.Select(i => Items(value)[i])];
        if (places.Count == 0) return MarkedText.Empty;
        return step == 1 ? text.Slice(places[0], places[^1] + 1) : MarkedText.Concat(places.Select(i => text.Slice(i, i + 1)));

        long Bound(long? given, long byDefault, long lowest = 0)
        {
            if (given is not { } bound) return byDefault;
            return Math.Clamp(bound < 0 ? bound + count : bound, lowest, lowest < 0 ? count - 1 : count);
        }
    }

    /// <summary>As json.dumps writes it, without escapes of what is no control character.</summary>
    public static string Json(object? value) => value switch
    {
        null => "null",
        bool flag => flag ? "true" : "false",
        MarkedText text => JsonSerializer.Serialize(text.Value, Compact),
        long or double => TextOf(value).Value,
        IReadOnlyList<object?> list => $"[{string.Join(", ", list.Select(Json))}]",
        IReadOnlyDictionary<string, object?> map =>
            $"{{{string.Join(", ", map.Select(m => $"{Json(MarkedText.Template(m.Key))}: {Json(m.Value)}"))}}}",
        _ => throw new JinjaException("tojson of what has no JSON"),
    };
}
