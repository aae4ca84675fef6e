using System.Text.RegularExpressions;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>What is expected of a value, in plain words, where a library names a type of a program.</summary>
public static partial class ValueForms
{
    /// <param name="type">As libraries write it: System.Int32, or System.Nullable`1[System.Guid].</param>
    public static string Of(string type)
    {
        if (NullableType().Match(type) is { Success: true } nullable) return Of(nullable.Groups[1].Value);
        return type switch
        {
            "System.Int32" or "System.Int64" or "System.UInt64" or "int" or "long" => "a whole number",
            "System.Double" or "System.Single" or "System.Decimal" or "double" => "a number, such as 0.5",
            "System.Guid" or "Guid" => "an id, such as a run's",
            "System.Boolean" or "bool" => "true or false",
            "System.String" or "string" => "text",
            "System.DateTimeOffset" or "System.DateTime" or "DateTimeOffset" => "a time, such as 2026-11-25T16:00:00Z",
            _ when type.Contains("Collections", StringComparison.Ordinal) || type.EndsWith("[]", StringComparison.Ordinal) => "a list",
            _ => Find(type) switch
            {
                { IsEnum: true } names => $"one of {string.Join(", ", Enum.GetNames(names))}",
                { IsClass: true } => "an object",
                _ => "another value",
            },
        };
    }

    /// <summary>A type of this program by its full name; null where there is none.</summary>
    internal static Type? Find(string type) =>
        AppDomain.CurrentDomain.GetAssemblies().Select(a => a.GetType(type)).OfType<Type>().FirstOrDefault();

    [GeneratedRegex(@"^(?:System\.)?Nullable(?:`1\[\[?|<)([^,\]>]+)", RegexOptions.NonBacktracking)]
    private static partial Regex NullableType();
}
