using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using ArmoFlow.Contracts;

namespace ArmoFlow.Cli;

/// <summary>Options that several commands share.</summary>
internal static class Options
{
    /// <summary>
    /// A default that --help does not print, since settings may hold passwords. Help asks without a command line around it.
    /// </summary>
    public static Func<ArgumentResult, string?> Unshown(Func<string?> setting) => result => result.Parent is null ? null : setting();

    /// <summary>A time; one without a zone is UTC, as everywhere else.</summary>
    public static DateTimeOffset Time(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (IsoTime.TryParse(text, out DateTimeOffset time)) return time;
        result.AddError($"'{text}' is not a time; expected one such as 2026-11-25 or 2026-11-25T16:00:00Z. Correct it.");
        return default;
    }

    /// <summary>How many rows of a list are asked for.</summary>
    public static Option<int> Limit(int usual)
    {
        Option<int> limit = new("--limit") { Description = "How many at most.", DefaultValueFactory = _ => usual };
        limit.Validators.Add(result =>
        {
            if (result.Tokens is [{ Value: { } text }] && int.TryParse(text, CultureInfo.InvariantCulture, out int number) && number < 1)
                result.AddError($"--limit {number}: expected at least 1. Correct it.");
        });
        return limit;
    }

    /// <summary>A number with a point, whatever the machine's language is: a comma would be taken for a separator of thousands.</summary>
    public static double Number(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        bool isNumber =
            double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number);
        if (!isNumber) result.AddError($"'{text}' is not a number; expected one such as 0.5. Correct it.");
        return number;
    }

    public static DateOnly? Day(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        bool isDay = DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly day);
        if (!isDay) result.AddError($"'{text}' is not a day; expected one such as 2024-07-26. Correct it.");
        return day;
    }

    public static Argument<Guid> Run(string name = "run") => new(name)
    {
        Description = "The run's id.",
        CustomParser = result =>
        {
            if (Guid.TryParse(result.Tokens[0].Value, out Guid id)) return id;
            result.AddError($"'{result.Tokens[0].Value}' is not a run's id; see: armoflow runs list");
            return default;
        },
    };
}
