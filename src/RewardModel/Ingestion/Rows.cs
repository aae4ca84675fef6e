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
    /// <summary>A rating on a scale from 0 to 1.</summary>
    /// <exception cref="InvalidInputException">The value lies outside the range.</exception>
    public double Rescale(double value, string place, string column) => value >= Min && value <= Max ? (value - Min) / (Max - Min)
        : throw new InvalidInputException($"{place} column '{column}'", value.ToString(CultureInfo.InvariantCulture),
            string.Create(CultureInfo.InvariantCulture, $"a rating from {Min} to {Max}"),
                "Correct the rating, or declare the source's real range.");
}

/// <summary>Typed access to a row's fields, with errors that name the column.</summary>
public static class Rows
{
    private const string CheckFormat = "Check that the source has the declared format.";
    private const string System = "system", User = "user", Assistant = "assistant", PromptColumn = "prompt";

    /// <summary>A column that holds a text.</summary>
    /// <param name="row">The row.</param>
    /// <param name="column">The column's name.</param>
    /// <exception cref="InvalidInputException">There is no such column, or it holds no text.</exception>
    public static string Text(this SourceRow row, string column) => TextOf(row.Get(row.Fields, column), row.Place, column);

    /// <summary>A text, or "" where there is none.</summary>
    public static string TextOrNone(this SourceRow row, string column) =>
        row.Get(row.Fields, column) is { ValueKind: not JsonValueKind.Null } value ? TextOf(value, row.Place, column) : "";

    /// <summary>A field of an object.</summary>
    /// <param name="row">The row, for the error.</param>
    /// <param name="parent">The object.</param>
    /// <param name="column">The field's name.</param>
    /// <exception cref="InvalidInputException">It is no object, or has no such field.</exception>
    public static JsonElement Get(this SourceRow row, JsonElement parent, string column)
    {
        if (parent.ValueKind != JsonValueKind.Object)
            throw new InvalidInputException(row.Place, Kind(parent), $"an object with a field '{column}'", CheckFormat);
        return parent.TryGetProperty(column, out JsonElement value) ? value
            : throw new InvalidInputException(row.Place, $"no column '{column}'", "the columns of the declared format",
                MissingColumn(parent, column));
    }

    /// <summary>A column that holds a list.</summary>
    public static JsonElement.ArrayEnumerator List(this SourceRow row, JsonElement parent, string column)
    {
        JsonElement list = row.Get(parent, column);
        return list.ValueKind == JsonValueKind.Array ? list.EnumerateArray()
            : throw new InvalidInputException($"{row.Place} column '{column}'", Kind(list), "a list",
                $"{CheckFormat} A row without one cannot be used: leave it out.");
    }

    /// <summary>A value that must be a text.</summary>
    /// <param name="value">The value.</param>
    /// <param name="place">Where it stands, for the error.</param>
    /// <param name="column">Its column, for the error.</param>
    /// <exception cref="InvalidInputException">It is no text.</exception>
    public static string TextOf(JsonElement value, string place, string column) =>
        value.ValueKind == JsonValueKind.String ? value.GetString()!
            : throw new InvalidInputException($"{place} column '{column}'", Kind(value), "text", CheckFormat);

    /// <summary>
    /// A rating in every format and file type: a number, a number as text, a boolean as 1 or 0; null where it is absent: null, "", "N/A".
    /// </summary>
    /// <exception cref="InvalidInputException">It is anything else, or not finite.</exception>
    public static double? Number(JsonElement value, string place, string column) => value.ValueKind switch
    {
        JsonValueKind.Null => null,
        JsonValueKind.True => 1,
        JsonValueKind.False => 0,
        JsonValueKind.Number when value.TryGetDouble(out double number) && double.IsFinite(number) => number,
        JsonValueKind.Number => throw NoNumber(place, column, value.GetRawText()),
        JsonValueKind.String => NumberOf(value.GetString()!, place, column),
        _ => throw NoNumber(place, column, Kind(value)),
    };

    private static double? NumberOf(string text, string place, string column)
    {
        if (text.Trim() is "" or "N/A") return null;
        return TryNumber(text, out double number) ? number : throw NoNumber(place, column, $"the text '{text}'");
    }

    internal static bool IsNumber(string text) => TryNumber(text, out _);

    private static bool TryNumber(string text, out double number) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number) && double.IsFinite(number);

    private static InvalidInputException NoNumber(string place, string column, string found) =>
        new($"{place} column '{column}'", found, "a finite number, or null", "Write the rating as a number, and null for an absent one.");

    /// <summary>Which of two answers a row's label prefers.</summary>
    /// <param name="row">The row.</param>
    /// <param name="column">The label's column.</param>
    /// <param name="first">The label that means the first answer.</param>
    /// <param name="second">The label that means the second.</param>
    /// <exception cref="InvalidInputException">The label is neither: whatever it means, it is no preference.</exception>
    public static bool PrefersFirst(this SourceRow row, string column, int first, int second)
    {
        JsonElement label = row.Get(row.Fields, column);
        double? number = label.ValueKind is JsonValueKind.Number or JsonValueKind.String ? Number(label, row.Place, column) : null;
        if (number == first) return true;
        return number == second ? false : throw NoLabel(row, column, Raw(label), $"{first}", $"{second}");
    }

    /// <inheritdoc cref="PrefersFirst(SourceRow, string, int, int)"/>
    public static bool PrefersFirst(this SourceRow row, string column, string first, string second)
    {
        JsonElement label = row.Get(row.Fields, column);
        string? text = label.ValueKind == JsonValueKind.String ? label.GetString() : null;
        if (text == first) return true;
        return text == second ? false : throw NoLabel(row, column, Raw(label), $"'{first}'", $"'{second}'");
    }

    private static InvalidInputException NoLabel(SourceRow row, string column, string found, string first, string second) => new(
        $"{row.Place} column '{column}'", $"the label {found}", $"{first} (the first answer is better) or {second} (the second is)",
        "Correct the label, or leave the row out: a tie is no preference.");

    /// <summary>Refuses a row whose own ratings say that the rejected answer is the better one.</summary>
    /// <exception cref="InvalidInputException">They do.</exception>
    public static SourceRow InOrder(this SourceRow row)
    {
        double? chosen = Given("chosen_rating") ?? Given("rating_chosen"), rejected = Given("rejected_rating") ?? Given("rating_rejected");
        if (chosen is null || rejected is null || chosen >= rejected) return row;
        throw new InvalidInputException(row.Place, $"a chosen answer rated {chosen} and a rejected one rated {rejected}",
            "the chosen answer rated at least as high", "Correct the ratings, or exchange the answers.")
        {
            StrayRow = "ratings against the order",
        };

        double? Given(string column) => row.Fields.TryGetProperty(column, out JsonElement value) ? Number(value, row.Place, column) : null;
    }

    /// <summary>A column that holds a conversation's messages.</summary>
    /// <param name="row">The row.</param>
    /// <param name="column">The column's name.</param>
    /// <exception cref="InvalidInputException">It holds no conversation.</exception>
    public static Conversation Messages(this SourceRow row, string column)
    {
        string place = $"{row.Place} column '{column}'";
        return Conversation.Create(MessagesOf(row, row.Get(row.Fields, column), place), place);
    }

    /// <summary>
    /// A conversation that ends with this column's answer: messages that hold the prompt, or the prompt's column and what follows it. Each
    /// of the two may be a text or a list of messages, as TRL, OpenRLHF and RewardBench publish them.
    /// </summary>
    /// <exception cref="InvalidInputException">The two do not make one conversation.</exception>
    public static Conversation Answer(this SourceRow row, string column)
    {
        string place = $"{row.Place} column '{column}'";
        JsonElement answer = row.Get(row.Fields, column);
        if (answer.ValueKind == JsonValueKind.String)
        {
            string text = RequireTurn(answer.GetString()!, place);
            return Conversation.Create(Continued(Prompt(row), [new Message(Assistant, text)], place), row.Place);
        }
        List<Message> messages = MessagesOf(row, answer, place);
        bool mayBeAlone = messages.Count == 0 || messages[0].Role == System;
        bool hasPrompt = row.Fields.TryGetProperty(PromptColumn, out JsonElement prompt) && prompt.ValueKind != JsonValueKind.Null;
        // A prompt as text beside whole conversations is what some sets give besides; it need not be equal to the letter.
        if (mayBeAlone || !hasPrompt || (prompt.ValueKind != JsonValueKind.Array && messages[0].Role != Assistant))
            return Conversation.Create(messages, place);
        List<Message> before = Prompt(row);
        return Conversation.Create(BeginsWith(messages, before) ? messages : Continued(before, messages, place), place);
    }

    private static List<Message> Prompt(SourceRow row)
    {
        JsonElement prompt = row.Get(row.Fields, PromptColumn);
        string place = $"{row.Place} column '{PromptColumn}'";
        return prompt.ValueKind switch
        {
            JsonValueKind.String => [.. SystemOf(row), new Message(User, RequireTurn(prompt.GetString()!, place))],
            JsonValueKind.Array => MessagesOf(row, prompt, place),
            _ => throw new InvalidInputException(place, Kind(prompt), "text, or a list of messages", CheckFormat),
        };
    }

    /// <summary>What some sets give beside a prompt as text: the system's turn before it.</summary>
    private static IEnumerable<Message> SystemOf(SourceRow row)
    {
        bool isGiven = row.Fields.TryGetProperty(System, out JsonElement value) && value.ValueKind == JsonValueKind.String;
        return isGiven && !string.IsNullOrWhiteSpace(value.GetString()) ? [new Message(System, value.GetString()!)] : [];
    }

    /// <summary>One turn as text; a whole conversation written into one text would be read as what one of them said.</summary>
    private static string RequireTurn(string text, string place)
    {
        if (Transcript.Is(text))
        {
            throw new InvalidInputException(place, "a transcript ('Human: … Assistant: …') where one turn is expected", "the turn's text",
                "Read the two answers with the format hh-rlhf, or write the turns as a list of messages.")
            {
                StrayRow = "a transcript as one turn",
            };
        }
        if (MessagesAsText(text))
        {
            throw new InvalidInputException(place, "a list of messages that is written as a text", "the list itself, or the turn's text",
                "Write the list as JSON, not as a text that holds JSON.")
            {
                StrayRow = "a list of messages as one turn",
            };
        }
        return text;
    }

    private static bool MessagesAsText(string text)
    {
        ReadOnlySpan<char> start = text.AsSpan(0, Math.Min(text.Length, 40)).TrimStart();
        bool isList = start.StartsWith("[") && start[1..].TrimStart().StartsWith("{") && text.AsSpan().TrimEnd().EndsWith("]");
        if (!isList) return false;
        ReadOnlySpan<char> name = start[1..].TrimStart()[1..].TrimStart();
        return name.StartsWith("\"role\"") || name.StartsWith("'role'") || name.StartsWith("\"content\"") || name.StartsWith("'content'");
    }

    private static bool BeginsWith(List<Message> messages, List<Message> before) =>
        messages.Count > before.Count && before.Zip(messages).All(turns =>
            turns.First.Role == turns.Second.Role && PythonText.Strip(turns.First.Content) == PythonText.Strip(turns.Second.Content));

    private static IEnumerable<Message> Continued(List<Message> before, List<Message> after, string place)
    {
        bool alternate = before.Count == 0 || (before[^1].Role == User) != (after[0].Role == User);
        return alternate ? [.. before, .. after] : throw new InvalidInputException(place,
            $"turns that begin with the {after[0].Role}'s after a prompt that ends with the {before[^1].Role}'s",
            "the whole conversation, or what follows the prompt", "Repeat the prompt's turns in it, or take the column 'prompt' out.");
    }

    private static List<Message> MessagesOf(SourceRow row, JsonElement list, string place)
    {
        if (list.ValueKind != JsonValueKind.Array) throw new InvalidInputException(place, Kind(list), "a list of messages", CheckFormat);
        List<Message> messages = [];
        foreach (JsonElement message in list.EnumerateArray())
        {
            if (message.ValueKind == JsonValueKind.String)
            {
                throw new InvalidInputException(place, "a list of texts", "a text, or a list of messages {role, content}",
                    "Several answers for one side are RewardBench 2's layout, or a ranking's; write one row for each pair.");
            }
            if (message.ValueKind != JsonValueKind.Object)
                throw new InvalidInputException(place, $"{Kind(message)} in a list of messages", "messages {role, content}", CheckFormat);
            messages.Add(
                new Message(TextOf(row.Get(message, "role"), place, "role"), TextOf(row.Get(message, "content"), place, "content")));
        }
        return messages;
    }

    /// <summary>A rated row's conversation: its messages, or a prompt and a response.</summary>
    public static Conversation Response(this SourceRow row) =>
        row.Fields.TryGetProperty("messages", out JsonElement messages) && messages.ValueKind != JsonValueKind.Null
            ? row.Messages("messages") : row.Answer("response");

    /// <summary>A pair of two different responses.</summary>
    /// <param name="row">The row, for the error.</param>
    /// <param name="chosen">The better one.</param>
    /// <param name="rejected">The other.</param>
    /// <exception cref="InvalidInputException">They are the same.</exception>
    public static PreferencePair Pair(this SourceRow row, Conversation chosen, Conversation rejected) =>
        chosen.Id != rejected.Id ? new PreferencePair(chosen, rejected)
            : throw new InvalidInputException(row.Place, "identical chosen and rejected", "two different responses", "Leave the row out.")
            {
                StrayRow = "identical chosen and rejected",
            };

    /// <summary>
    /// One row's items: what is whole but worthless is left out and counted where the source may do so, and the others stay.
    /// </summary>
    internal static IEnumerable<TItem> Each<TPart, TItem>(this SourceRow row, IEnumerable<TPart> parts, Func<TPart, TItem> read)
    {
        foreach (TPart part in parts)
        {
            TItem item;
            try { item = read(part); }
            catch (InvalidInputException e) when (e.StrayRow is not null && row.LeaveOut is not null)
            {
                row.LeaveOut(e);
                continue;
            }
            yield return item;
        }
    }

    /// <summary>A value as errors call it.</summary>
    internal static string Kind(JsonElement value) => JsonRow.NotFiniteWord(value) ?? value.ValueKind switch
    {
        JsonValueKind.Null => "null",
        _ => $"a JSON {value.ValueKind}",
    };

    private static string Raw(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => $"'{value.GetString()}'",
        JsonValueKind.Number => value.GetRawText(),
        _ => Kind(value),
    };

    private static string MissingColumn(JsonElement parent, string column)
    {
        string[] names = [.. parent.EnumerateObject().Select(p => p.Name)];
        string? rows = parent.EnumerateObject().Where(p => IsListOfRows(p.Value)).Select(p => p.Name).FirstOrDefault();
        string hint = rows is not null ? $" If the rows are in its field '{rows}', write that list as the file." : "";
        return DidYouMean.Suggest(column, names) + hint;
    }

    private static bool IsListOfRows(JsonElement value) =>
        value.ValueKind == JsonValueKind.Array
            && value.GetArrayLength() > 0
            && value[0].ValueKind == JsonValueKind.Object
            && !value[0].TryGetProperty("role", out _);
}
