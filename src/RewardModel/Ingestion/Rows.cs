using System.Globalization;
using System.Text.Json;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>A response with its ratings, rescaled to [0, 1]; objectives that were not rated are not in the dictionary.</summary>
public sealed record RatedResponse(Conversation Conversation, IReadOnlyDictionary<string, double> Ratings);

/// <summary>Two responses, the first preferred.</summary>
public sealed record PreferencePair(Conversation Chosen, Conversation Rejected);

/// <summary>A benchmark's pair, with the subset it counts for and its id there.</summary>
public sealed record BenchmarkPair(string Id, string Subset, Conversation Chosen, Conversation Rejected);

/// <summary>A declared range that is rescaled linearly to [0, 1].</summary>
public readonly record struct Scale(double Min, double Max)
{
    /// <exception cref="InvalidInputException">The value lies outside the range.</exception>
    public double Rescale(double value, string place, string column) => value >= Min && value <= Max ? (value - Min) / (Max - Min)
        : throw new InvalidInputException($"{place} column '{column}'", value.ToString(CultureInfo.InvariantCulture), string.Create(CultureInfo.InvariantCulture, $"a rating from {Min} to {Max}"),
            "Correct the rating, or declare the source's real range.");
}

/// <summary>Typed access to a row's fields, with errors that name the column.</summary>
public static class Rows
{
    public static string Text(this SourceRow row, string column) => TextOf(row.Get(row.Fields, column), row.Place, column);

    public static JsonElement Get(this SourceRow row, JsonElement parent, string column) => parent.ValueKind == JsonValueKind.Object && parent.TryGetProperty(column, out JsonElement value) ? value
        : throw new InvalidInputException(row.Place, $"no column '{column}'", "the columns of the declared format", MissingColumn(parent, column));

    public static string TextOf(JsonElement value, string place, string column) => value.ValueKind == JsonValueKind.String ? value.GetString()!
        : throw new InvalidInputException($"{place} column '{column}'", $"a JSON {value.ValueKind}", "text", "Check that the source has the declared format.");

    /// <summary>A number, a boolean as 1 or 0, or null where the rating is absent.</summary>
    public static double? Number(JsonElement value, string place, string column, bool textAllowed = false) => value.ValueKind switch
    {
        JsonValueKind.Null => null,
        JsonValueKind.True => 1,
        JsonValueKind.False => 0,
        JsonValueKind.Number => value.GetDouble(),
        JsonValueKind.String when textAllowed && value.GetString() is "N/A" or "" => null,
        JsonValueKind.String when textAllowed && double.TryParse(value.GetString(), NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && double.IsFinite(number) => number,
        JsonValueKind.String => throw new InvalidInputException($"{place} column '{column}'", $"the text '{value.GetString()}'", "a number, or null", "Write the rating as a number."),
        _ => throw new InvalidInputException($"{place} column '{column}'", $"a JSON {value.ValueKind}", "a number, or null", "Write the rating as a number."),
    };

    public static Conversation Messages(this SourceRow row, string column)
    {
        JsonElement list = row.Get(row.Fields, column);
        string place = $"{row.Place} column '{column}'";
        if (list.ValueKind != JsonValueKind.Array) throw new InvalidInputException(place, $"a JSON {list.ValueKind}", "a list of messages", "Check that the source has the declared format.");
        return Conversation.Create(list.EnumerateArray().Select(m => new Message(TextOf(row.Get(m, "role"), place, "role"), TextOf(row.Get(m, "content"), place, "content"))), place);
    }

    public static PreferencePair Pair(this SourceRow row, Conversation chosen, Conversation rejected) => chosen.Id != rejected.Id ? new PreferencePair(chosen, rejected)
        : throw new InvalidInputException(row.Place, "identical chosen and rejected", "two different responses", "Leave the row out.") { StrayRow = "identical chosen and rejected" };

    private static string MissingColumn(JsonElement parent, string column) => parent.ValueKind == JsonValueKind.Object
        ? DidYouMean.Suggest(column, parent.EnumerateObject().Select(p => p.Name)) : "Check that the source has the declared format.";
}
