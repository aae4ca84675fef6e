using System.Globalization;
using System.Text;

namespace ArmoFlow.RewardModel.Text.Jinja;

/// <summary>A day as Python's strftime writes it in English; the time of day is midnight.</summary>
internal static class JinjaDate
{
    /// <exception cref="JinjaException">The form has a letter that is not known.</exception>
    public static string Format(DateOnly date, string form)
    {
        StringBuilder text = new();
        for (int i = 0; i < form.Length; i++)
        {
            if (form[i] != '%')
            {
                text.Append(form[i]);
                continue;
            }
            bool isBare = i + 1 < form.Length && form[i + 1] == '-';
            if (isBare) i++;
            char letter = ++i < form.Length ? form[i] : '%';
            string part = Part(date, letter) ?? throw new JinjaException($"the date's form '%{letter}'");
            text.Append(isBare ? part.TrimStart('0') : part);
        }
        return text.ToString();
    }

    private static string? Part(DateOnly date, char letter) => letter switch
    {
        'Y' => Of(date, "yyyy"),
        'y' => Of(date, "yy"),
        'm' => Of(date, "MM"),
        'd' => Of(date, "dd"),
        'B' => Of(date, "MMMM"),
        'b' or 'h' => Of(date, "MMM"),
        'A' => Of(date, "dddd"),
        'a' => Of(date, "ddd"),
        'F' => Of(date, "yyyy-MM-dd"),
        'j' => date.DayOfYear.ToString("d3", CultureInfo.InvariantCulture),
        'H' or 'M' or 'S' => "00",
        '%' => "%",
        _ => null,
    };

    private static string Of(DateOnly date, string format) => date.ToString(format, CultureInfo.InvariantCulture);
}
