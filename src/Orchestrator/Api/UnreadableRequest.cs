using System.Reflection;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Http;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>What a caller is told of a request that cannot be read: the place, what was found there and what was expected.</summary>
internal static partial class UnreadableRequest
{
    /// <summary>In plain words; the server's own speak of the program's types.</summary>
    public static string Explain(BadHttpRequestException fault)
    {
        if (fault.InnerException is JsonException json) return OfBody(json);
        if (Parameter().Match(fault.Message) is { Success: true } bound)
        {
            return $"{bound.Groups["name"].Value}: '{Shorten(bound.Groups["value"].Value)}'; expected "
                + $"{ValueForms.Of(bound.Groups["type"].Value)}. Correct it.";
        }
        if (Absent().Match(fault.Message) is { Success: true } absent)
        {
            return $"{absent.Groups["name"].Value}: it is missing; expected {ValueForms.Of(absent.Groups["type"].Value)} in the address. "
                + "Add it.";
        }
        if (fault.StatusCode == StatusCodes.Status415UnsupportedMediaType)
            return "the body is not declared as JSON. Send it with the header 'Content-Type: application/json'.";
        if (fault.Message.Contains("no body was provided", StringComparison.Ordinal))
            return "the body is empty; expected a JSON object. Send one.";
        return fault.Message;
    }

    private static string OfBody(JsonException fault)
    {
        string message = fault.Message.Split(" Path: ")[0];
        string place = fault is { Path: { Length: > 1 } path } ? $"the body at {Shorten(path)}" : "the body";
        if (Unknown().Match(message) is { Success: true } unknown)
            return $"{place}: unknown field '{Shorten(unknown.Groups["name"].Value)}'. {Suggest(unknown)}";
        if (Duplicate().Match(message) is { Success: true } twice)
            return $"{place}: the field '{Shorten(twice.Groups["name"].Value)}' stands twice. Leave one out.";
        if (Missing().Match(message) is { Success: true } missing)
            return $"{place}: missing: {missing.Groups["names"].Value.Trim('.')}. Add it.";
        if (NotOf().Match(message) is { Success: true } other)
            return $"{place}: expected {ValueForms.Of(TypeAt(fault.Path, other.Groups["type"].Value))}. Correct it.";
        string at = fault.LineNumber is { } line ? $" at line {line + 1}, byte {fault.BytePositionInLine + 1}" : "";
        return $"the body{at} is not JSON: {Shorten(message)}";
    }

    /// <summary>The library may name the object that a value stands in; what is expected is the value's own.</summary>
    private static string TypeAt(string? path, string type)
    {
        string field = path?.Split('.')[^1] ?? "";
        PropertyInfo? property =
            ValueForms.Find(type)?.GetProperty(field, BindingFlags.IgnoreCase | BindingFlags.Public | BindingFlags.Instance);
        return property?.PropertyType.FullName ?? type;
    }

    private static string Suggest(Match unknown)
    {
        IEnumerable<PropertyInfo> fields = ValueForms.Find(unknown.Groups["type"].Value)?.GetProperties() ?? [];
        return DidYouMean.Suggest(unknown.Groups["name"].Value, fields.Select(f => JsonNamingPolicy.CamelCase.ConvertName(f.Name)));
    }

    private static string Shorten(string text) => Shown.Cut(text, Shown.MostFound);

    [GeneratedRegex("""^Failed to bind parameter "(?<type>\S+) (?<name>\w+)" from "(?<value>.*)"\.$""",
        RegexOptions.NonBacktracking | RegexOptions.Singleline)]
    private static partial Regex Parameter();

    [GeneratedRegex("""^Required parameter "(?<type>\S+) (?<name>\w+)" was not provided""", RegexOptions.NonBacktracking)]
    private static partial Regex Absent();

    [GeneratedRegex(@"^The JSON property '(?<name>.*)' could not be mapped to any \.NET member contained in type '(?<type>[^']+)'",
        RegexOptions.NonBacktracking | RegexOptions.Singleline)]
    private static partial Regex Unknown();

    [GeneratedRegex(@"^Duplicate property '(?<name>.*?)' ", RegexOptions.NonBacktracking | RegexOptions.Singleline)]
    private static partial Regex Duplicate();

    [GeneratedRegex(@"^JSON deserialization for type '[^']+' was missing required properties including: (?<names>.+)$",
        RegexOptions.NonBacktracking)]
    private static partial Regex Missing();

    [GeneratedRegex(@"^The JSON value could not be converted to (?<type>.+?)\.$", RegexOptions.NonBacktracking)]
    private static partial Regex NotOf();
}
