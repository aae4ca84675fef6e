using System.Text.Json;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>How a rated source's rows become responses with ratings.</summary>
/// <param name="Objectives">What the format rates; empty where the columns themselves say it.</param>
/// <param name="Read">One row may hold several responses.</param>
public sealed record RatedFormat(IReadOnlyList<string> Objectives, Func<SourceRow, IEnumerable<RatedResponse>> Read);

/// <summary>A custom source's column for one objective, with its declared range.</summary>
public sealed record RatedColumn(string Objective, string Column, Scale Scale);

/// <summary>The paper's eight rated data sets with the scales of its appendix A, the hub's merged layout, and declared columns.</summary>
public static class RatedFormats
{
    private static readonly Scale ZeroToOne = new(0, 1), ZeroToFour = new(0, 4), OneToFive = new(1, 5), OneToTen = new(1, 10);

    /// <summary>The paper's 19 objectives (appendix A), in the order of the released model.</summary>
    public static readonly IReadOnlyList<string> PaperObjectives =
    [
        "helpsteer-helpfulness", "helpsteer-correctness", "helpsteer-coherence", "helpsteer-complexity", "helpsteer-verbosity",
        "ultrafeedback-overall-score", "ultrafeedback-instruction-following", "ultrafeedback-truthfulness", "ultrafeedback-honesty", "ultrafeedback-helpfulness",
        "beavertails-is-safe", "prometheus-score", "argilla-overall-quality", "argilla-judge-lm",
        "code-complexity", "code-style", "code-explanation", "code-instruction-following", "code-readability",
    ];

    private static readonly string[] HelpSteerAspects = ["helpfulness", "correctness", "coherence", "complexity", "verbosity"];
    private static readonly string[] UltraFeedbackAspects = ["instruction_following", "truthfulness", "honesty", "helpfulness"];
    private static readonly Dictionary<string, string> CodeAspects = new(StringComparer.Ordinal)
    {
        ["code-complexity"] = "code-complexity",
        ["coding-style"] = "code-style",
        ["code-explanation"] = "code-explanation",
        ["instruction-following"] = "code-instruction-following",
        ["code-readability"] = "code-readability",
    };

    private static readonly Dictionary<string, RatedFormat> Named = new(StringComparer.Ordinal)
    {
        ["helpsteer"] = new([.. HelpSteerAspects.Select(a => "helpsteer-" + a)], row =>
            [Rated(row, row.Text("prompt"), row.Text("response"), HelpSteerAspects.Select(a => ("helpsteer-" + a, row.Get(row.Fields, a), a, ZeroToFour)))]),
        ["ultrafeedback"] = new(["ultrafeedback-overall-score", .. UltraFeedbackAspects.Select(UltraFeedbackName)], UltraFeedback),
        ["beavertails"] = new(["beavertails-is-safe"], row =>
            [Rated(row, row.Text("prompt"), row.Text("response"), [("beavertails-is-safe", row.Get(row.Fields, "is_safe"), "is_safe", ZeroToOne)])]),
        ["code-ultrafeedback"] = new([.. CodeAspects.Values], CodeUltraFeedback),
        ["prometheus"] = new(["prometheus-score"], row =>
            [Rated(row, row.Text("orig_instruction"), row.Text("orig_response"), [("prometheus-score", row.Get(row.Fields, "orig_score"), "orig_score", OneToFive)])]),
        ["argilla-capybara"] = new(["argilla-overall-quality"], row => Sides("chosen", "rejected")
            .Select(side => Rated(row, row.Messages(side), [("argilla-overall-quality", row.Get(row.Fields, "rating_" + side), "rating_" + side, OneToFive)]))),
        ["argilla-openorca"] = new(["argilla-judge-lm"], OpenOrca),
        ["argilla-math"] = new(["ultrafeedback-instruction-following"], row => Sides("chosen", "rejected")
            .Select(side => Rated(row, row.Text("instruction"), row.Text(side + "_response"), [("ultrafeedback-instruction-following", row.Get(row.Fields, side + "_rating"), side + "_rating", OneToFive)]))),
    };

    public static IEnumerable<string> Names => [.. Named.Keys, "armorm-ratings", "columns"];

    /// <summary>Finds a named format, or builds the merged or declared one for these objectives.</summary>
    /// <param name="name">A name of <see cref="Names"/>.</param>
    /// <param name="objectives">The run's objectives, in order.</param>
    /// <param name="columns">Declared columns, for the format 'columns'.</param>
    /// <param name="ignored">Columns of the merged layout that are left unread.</param>
    public static RatedFormat Find(string name, IReadOnlyList<string> objectives, IReadOnlyList<RatedColumn> columns, IReadOnlyCollection<string> ignored) => name switch
    {
        "armorm-ratings" => new RatedFormat([], row => [Merged(row, objectives, ignored)]),
        "columns" => new RatedFormat([.. columns.Select(c => c.Objective)], row => [Rated(row, Response(row), columns.Select(c => (c.Objective, row.Get(row.Fields, c.Column), c.Column, c.Scale)))]),
        _ when Named.TryGetValue(name, out RatedFormat? format) => format,
        _ => throw new InvalidInputException("ratings", $"format '{name}'", "a format for rated data", DidYouMean.Suggest(name, Names)),
    };

    private static Conversation Response(SourceRow row) => row.Fields.TryGetProperty("messages", out _) ? row.Messages("messages") : Conversation.Create(row.Text("prompt"), row.Text("response"), row.Place);

    private static RatedResponse Merged(SourceRow row, IReadOnlyList<string> objectives, IReadOnlyCollection<string> ignored)
    {
        foreach (JsonProperty field in row.Fields.EnumerateObject())
            if (field.Value.ValueKind is JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False && !objectives.Contains(field.Name) && !ignored.Contains(field.Name))
                throw new InvalidInputException(row.Place, $"objective '{field.Name}' is not in this spec", "an objective of the spec",
                    $"{DidYouMean.Suggest(field.Name, objectives)} Correct it, add it to 'objectives', or list it under the source's 'ignore'.");
        return Rated(row, row.Messages("messages"), objectives.Where(o => row.Fields.TryGetProperty(o, out _)).Select(o => (o, row.Get(row.Fields, o), o, ZeroToOne)));
    }

    private static IEnumerable<RatedResponse> UltraFeedback(SourceRow row)
    {
        string prompt = row.Text("instruction");
        foreach (JsonElement completion in row.Get(row.Fields, "completions").EnumerateArray())
        {
            List<(string, JsonElement, string, Scale)> ratings = [("ultrafeedback-overall-score", row.Get(completion, "overall_score"), "overall_score", OneToTen)];
            if (completion.TryGetProperty("annotations", out JsonElement annotations) && annotations.ValueKind == JsonValueKind.Object)
                foreach (string aspect in UltraFeedbackAspects)
                    if (annotations.TryGetProperty(aspect, out JsonElement annotation) && annotation.ValueKind == JsonValueKind.Object && annotation.TryGetProperty("Rating", out JsonElement rating))
                        ratings.Add((UltraFeedbackName(aspect), rating, aspect, OneToFive));
            yield return Rated(row, prompt, Rows.TextOf(row.Get(completion, "response"), row.Place, "response"), ratings);
        }
    }

    private static IEnumerable<RatedResponse> CodeUltraFeedback(SourceRow row)
    {
        string prompt = row.Text("instruction"), preference = row.Text("preference");
        if (!CodeAspects.TryGetValue(preference, out string? objective))
            throw new InvalidInputException($"{row.Place} column 'preference'", $"'{preference}'", "one of the five coding preferences", DidYouMean.Suggest(preference, CodeAspects.Keys));
        Dictionary<string, JsonElement> ratings = row.Get(row.Fields, "annotations").EnumerateArray()
            .ToDictionary(a => Rows.TextOf(row.Get(a, "model"), row.Place, "model"), a => row.Get(a, "rating"));
        foreach (JsonElement response in row.Get(row.Fields, "responses").EnumerateArray())
            if (ratings.TryGetValue(Rows.TextOf(row.Get(response, "model"), row.Place, "model"), out JsonElement rating))
                yield return Rated(row, prompt, Rows.TextOf(row.Get(response, "response"), row.Place, "response"), [(objective, rating, "rating", OneToFive)]);
    }

    private static IEnumerable<RatedResponse> OpenOrca(SourceRow row)
    {
        JsonElement[] ratings = [.. row.Get(row.Fields, "rating").EnumerateArray()], generations = [.. row.Get(row.Fields, "generations").EnumerateArray()];
        if (ratings.Length != generations.Length)
            throw new InvalidInputException(row.Place, $"{ratings.Length} ratings for {generations.Length} generations", "one rating for each generation", "Leave the row out, or correct it.");
        string system = row.Text("system"), input = row.Text("input");
        return generations.Zip(ratings, (g, r) => Rated(row, Conversation.Create(
            [.. system.Length > 0 ? [new Message("system", system)] : Array.Empty<Message>(), new Message("user", input), new Message("assistant", Rows.TextOf(g, row.Place, "generations"))], row.Place),
            [("argilla-judge-lm", r, "rating", OneToTen)]));
    }

    private static RatedResponse Rated(SourceRow row, string prompt, string response, IEnumerable<(string, JsonElement, string, Scale)> ratings) =>
        Rated(row, Conversation.Create(prompt, response, row.Place), ratings);

    private static RatedResponse Rated(SourceRow row, Conversation conversation, IEnumerable<(string Objective, JsonElement Value, string Column, Scale Scale)> ratings)
    {
        Dictionary<string, double> scaled = [];
        foreach ((string objective, JsonElement value, string column, Scale scale) in ratings)
            if (Rows.Number(value, row.Place, column, textAllowed: scale != ZeroToOne) is { } number) scaled[objective] = scale.Rescale(number, row.Place, column);
        return new RatedResponse(conversation, scaled);
    }

    private static string UltraFeedbackName(string aspect) => "ultrafeedback-" + aspect.Replace('_', '-');
    private static string[] Sides(params string[] sides) => sides;
}
