using System.Globalization;

namespace ArmoFlow.Cli;

/// <summary>Numbers and times as tables show them.</summary>
internal static class Format
{
    public static string Number(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    public static string Time(DateTimeOffset time) => time.ToString("u", CultureInfo.InvariantCulture);
}
