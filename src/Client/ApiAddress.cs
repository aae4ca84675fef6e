using System.Globalization;

namespace ArmoFlow.Client;

/// <summary>Addresses of the API, with what is put into them escaped.</summary>
internal static class ApiAddress
{
    /// <param name="path">The path; its holes are escaped.</param>
    /// <param name="query">Names and values; those without a value are left out.</param>
    public static string Of(FormattableString path, params ReadOnlySpan<(string Name, object? Value)> query)
    {
        object?[] parts = [.. path.GetArguments().Select(part => (object?)Escaped(part))];
        string address = string.Format(CultureInfo.InvariantCulture, path.Format, parts);
        foreach ((string name, object? value) in query)
            if (value is not null) address += $"{(address.Contains('?') ? '&' : '?')}{name}={Escaped(value)}";
        return address;
    }

    private static string Escaped(object? value) => Uri.EscapeDataString(value switch
    {
        bool flag => flag ? "true" : "false",
        DateTimeOffset time => time.ToString("O", CultureInfo.InvariantCulture),
        _ => Convert.ToString(value, CultureInfo.InvariantCulture) ?? "",
    });
}
