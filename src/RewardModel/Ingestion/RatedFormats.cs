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
        "ultrafeedback-overall-score", "ultrafeedback-instruction-following", "ultrafeedback-truthfulness", "ultrafeedback-honesty",
        "ultrafeedback-helpfulness",
        "beavertails-is-safe", "prometheus-score", "argilla-overall-quality", "argilla-judge-lm",
        "code-complexity", "code-style", "code-explanation", "code-instruction-following", "code-readability",
    ];

    /// <summary>The same 19 as the released model and the hub's merged ratings spell them.</summary>
    public static readonly IReadOnlyList<string> ReleasedObjectives =
    [
        "helpsteer-helpfulness", "helpsteer-correctness", "helpsteer-coherence", "helpsteer-complexity", "helpsteer-verbosity",
        "ultrafeedback-overall_score", "ultrafeedback-instruction_following", "ultrafeedback-truthfulness", "ultrafeedback-honesty",
        "ultrafeedback-helpfulness",
        "beavertails-is_safe", "prometheus-score", "argilla-overall_quality", "argilla-judge_lm",
        "code-complexity", "code-style", "code-explanation", "code-instruction-following", "code-readability",
    ];

    private static readonly Dictionary<string, string> OurNames =
        ReleasedObjectives.Zip(PaperObjectives).ToDictionary(n => n.First, n => n.Second, StringComparer.Ordinal);

    private static readonly Dictionary<string, string> ReleasedNames =
        PaperObjectives.Zip(ReleasedObjectives).ToDictionary(n => n.First, n => n.Second, StringComparer.Ordinal);

    /// <summary>One of the paper's objectives as ArmoFlow spells it, whichever way it is spelt; any other name as it is.</summary>
    public static string OurName(string objective) => OurNames.GetValueOrDefault(objective, objective);

    /// <summary>One of the paper's objectives as the released model spells it; any other name as it is.</summary>
    public static string ReleasedName(string objective) => ReleasedNames.GetValueOrDefault(objective, objective);

    private static readonly string[] Sides = ["chosen", "rejected"];
    private static readonly string[] HelpSteerAspects = ["helpfulness", "correctness", "coherence", "complexity", "verbosity"];
    private static readonly string[] UltraFeedbackAspects = ["instruction_following", "truthfulness", "honesty", "helpfulness"];

    /// <summary>The five preferences as they were published at different times, and the objective of each.</summary>
    private static readonly Dictionary<string, string> CodeAspects = new(StringComparer.Ordinal)
    {
        ["complexity"] = "code-complexity",
        ["code-complexity"] = "code-complexity",
        ["style"] = "code-style",
        ["coding-style"] = "code-style",
        ["code-style"] = "code-style",
        ["explanation"] = "code-explanation",
        ["code-explanation"] = "code-explanation",
        ["instruction-following"] = "code-instruction-following",
        ["code-instruction-following"] = "code-instruction-following",
        ["readability"] = "code-readability",
        ["code-readability"] = "code-readability",
    };

    private static readonly Dictionary<string, RatedFormat> Named = new(StringComparer.Ordinal)
    {
        ["helpsteer"] = new([.. HelpSteerAspects.Select(a => "helpsteer-" + a)], row =>
            [Rated(row, HelpSteer(row), HelpSteerAspects.Select(a => ("helpsteer-" + a, row.Get(row.Fields, a), a, ZeroToFour)))]),
        ["ultrafeedback"] = new(["ultrafeedback-overall-score", .. UltraFeedbackAspects.Select(UltraFeedbackName)], UltraFeedback),
        ["beavertails"] = new(["beavertails-is-safe"], row =>
            [Rated(row, row.Text("prompt"), row.Text("response"),
                [("beavertails-is-safe", row.Get(row.Fields, "is_safe"), "is_safe", ZeroToOne)])]),
        ["code-ultrafeedback"] = new([.. CodeAspects.Values.Distinct()], CodeUltraFeedback),
        ["prometheus"] = new(["prometheus-score"], row =>
            [Rated(row, row.Text("orig_instruction"), row.Text("orig_response"),
                [("prometheus-score", row.Get(row.Fields, "orig_score"), "orig_score", OneToFive)])]),
        ["argilla-capybara"] = new(["argilla-overall-quality"], row => row.Each(Sides,
            side => Rated(row, row.Messages(side),
                [("argilla-overall-quality", row.Get(row.Fields, "rating_" + side), "rating_" + side, OneToFive)]))),
        ["argilla-openorca"] = new(["argilla-judge-lm"], OpenOrca),
        ["argilla-math"] = new(["ultrafeedback-instruction-following"], row => row.Each(Sides,
            side => Rated(row, row.Text("instruction"), row.Text(side + "_response"),
                [("ultrafeedback-instruction-following", row.Get(row.Fields, side + "_rating"), side + "_rating", OneToFive)]))),
    };

    /// <summary>The names of the formats for ratings.</summary>
    public static IEnumerable<string> Names => [.. Named.Keys, "armorm-ratings", "columns"];

    /// <summary>Finds a named format, or builds the merged or declared one for these objectives.</summary>
    /// <param name="name">A name of <see cref="Names"/>.</param>
    /// <param name="objectives">The run's objectives, in order.</param>
    /// <param name="columns">Declared columns, for the format 'columns'.</param>
    /// <param name="ignored">Columns of the merged layout that are left unread.</param>
    public static RatedFormat Find(string name, IReadOnlyList<string> objectives, IReadOnlyList<RatedColumn> columns,
        IReadOnlyCollection<string> ignored)
    {
        if (name == "armorm-ratings")
        {
            Dictionary<string, string> byOurName = ByOurName(objectives);
            return new RatedFormat([], row => [Merged(row, byOurName, ignored)]);
        }
        if (name == "columns")
        {
            return new RatedFormat([.. columns.Select(c => c.Objective)],
                row => [Rated(row, row.Response(), columns.Select(c => (c.Objective, row.Get(row.Fields, c.Column), c.Column, c.Scale)))]);
        }
        return Named.TryGetValue(name, out RatedFormat? format) ? Spelt(format, objectives)
            : throw new InvalidInputException("ratings", $"format '{name}'", "a format for rated data", DidYouMean.Suggest(name, Names));
    }

    private static Dictionary<string, string> ByOurName(IReadOnlyList<string> objectives)
    {
        Dictionary<string, string> names = new(StringComparer.Ordinal);
        foreach (string objective in objectives)
        {
            if (!names.TryAdd(OurName(objective), objective))
            {
                throw new InvalidInputException("objectives", $"'{names[OurName(objective)]}' and '{objective}'", "each objective once",
                    "Both are spellings of one objective: take one out.");
            }
        }
        return names;
    }

    /// <summary>The format with the objectives' names as the spec spells them: those of the paper are known in two ways.</summary>
    private static RatedFormat Spelt(RatedFormat format, IReadOnlyList<string> objectives)
    {
        Dictionary<string, string> spelt = ByOurName(objectives).Where(o => o.Key != o.Value).ToDictionary();
        if (spelt.Count == 0) return format;
        return new RatedFormat([.. format.Objectives.Select(Name)],
            row => format.Read(row).Select(r => r with { Ratings = r.Ratings.ToDictionary(x => Name(x.Key), x => x.Value) }));

        string Name(string objective) => spelt.GetValueOrDefault(objective, objective);
    }

    private static RatedResponse Merged(SourceRow row, Dictionary<string, string> byOurName, IReadOnlyCollection<string> ignored)
    {
        Dictionary<string, JsonProperty> found = [];
        foreach (JsonProperty field in row.Fields.EnumerateObject())
        {
            if (ignored.Contains(field.Name)) continue;
            if (byOurName.TryGetValue(OurName(field.Name), out string? objective)) Add(objective, field);
            else if (MayBeRating(field, byOurName.Values))
            {
                throw new InvalidInputException(row.Place, $"objective '{field.Name}' is not in this spec", "an objective of the spec",
                    $"{DidYouMean.Suggest(field.Name, byOurName.Values)} Correct it, add it to 'objectives', or list it under the "
                        + "source's 'ignore'.");
            }
        }
        return Rated(row, row.Messages("messages"), found.Select(f => (f.Key, f.Value.Value, f.Value.Name, ZeroToOne)));

        void Add(string objective, JsonProperty field)
        {
            if (found.TryGetValue(objective, out JsonProperty other) && other.Name != field.Name)
            {
                throw new InvalidInputException(row.Place, $"the columns '{other.Name}' and '{field.Name}'",
                    "one column for each objective",
                        "Both are spellings of one objective: take one out, or list it under the source's 'ignore'.");
            }
            found[objective] = field;
        }
    }

    /// <summary>Numbers are ratings; a number as text may be anything, unless its column is called nearly as an objective.</summary>
    private static bool MayBeRating(JsonProperty field, IEnumerable<string> objectives) => field.Value.ValueKind switch
    {
        JsonValueKind.Number or JsonValueKind.True or JsonValueKind.False => true,
        JsonValueKind.String => Rows.IsNumber(field.Value.GetString()!) && DidYouMean.IsNear(field.Name, objectives),
        _ => false,
    };

    /// <summary>HelpSteer's prompt; in HelpSteer2 one text may hold several turns.</summary>
    private static Conversation HelpSteer(SourceRow row) =>
        Conversation.Create([
            .. HelpSteerTurns.Parse(row.Text("prompt"), $"{row.Place} column 'prompt'"),
            new Message("assistant", row.Text("response"))
        ], row.Place);

    private static IEnumerable<RatedResponse> UltraFeedback(SourceRow row)
    {
        string prompt = row.Text("instruction");
        return row.Each(row.List(row.Fields, "completions").Select((completion, i) => (completion, i)), part =>
        {
            SourceRow here = row with { Place = $"{row.Place} completion {part.i + 1}" };
            return Rated(here, prompt, Rows.TextOf(here.Get(part.completion, "response"), here.Place, "response"),
                UltraFeedbackRatings(here, part.completion));
        });
    }

    private static List<(string, JsonElement, string, Scale)> UltraFeedbackRatings(SourceRow row, JsonElement completion)
    {
        List<(string, JsonElement, string, Scale)> ratings =
            [("ultrafeedback-overall-score", row.Get(completion, "overall_score"), "overall_score", OneToTen)];
        if (!Holds(row, completion, "annotations", out JsonElement annotations)) return ratings;
        foreach (string aspect in UltraFeedbackAspects)
        {
            if (Holds(row, annotations, aspect, out JsonElement annotation) && annotation.TryGetProperty("Rating", out JsonElement rating))
                ratings.Add((UltraFeedbackName(aspect), rating, aspect, OneToFive));
        }
        return ratings;
    }

    /// <summary>Whether an object is there; null and no column at all are an absent annotation.</summary>
    private static bool Holds(SourceRow row, JsonElement parent, string column, out JsonElement found)
    {
        if (!parent.TryGetProperty(column, out found) || found.ValueKind == JsonValueKind.Null) return false;
        return found.ValueKind == JsonValueKind.Object ? true
            : throw new InvalidInputException($"{row.Place} column '{column}'", Rows.Kind(found), "an object, or null",
                "Check that the source has the declared format.");
    }

    private static IEnumerable<RatedResponse> CodeUltraFeedback(SourceRow row)
    {
        string prompt = row.Text("instruction"), preference = row.Text("preference");
        if (!CodeAspects.TryGetValue(preference, out string? objective))
        {
            throw new InvalidInputException($"{row.Place} column 'preference'", $"'{preference}'", "one of the five coding preferences",
                DidYouMean.Suggest(preference, CodeAspects.Keys));
        }
        Dictionary<string, JsonElement> ratings = ByModel(row, "annotations", "rating"), responses = ByModel(row, "responses", "response");
        return row.Each(responses, response =>
        {
            JsonElement? rating = ratings.TryGetValue(response.Key, out JsonElement given) ? given : null;
            return Rated(row, prompt, Rows.TextOf(response.Value, row.Place, "response"),
                rating is { } value ? [(objective, value, "rating", OneToFive)] : []);
        });
    }

    /// <summary>A field of each model's entry in a list.</summary>
    private static Dictionary<string, JsonElement> ByModel(SourceRow row, string list, string field)
    {
        Dictionary<string, JsonElement> found = new(StringComparer.Ordinal);
        foreach (JsonElement entry in row.List(row.Fields, list))
        {
            string model = Rows.TextOf(row.Get(entry, "model"), row.Place, "model");
            if (!found.TryAdd(model, row.Get(entry, field)))
            {
                throw new InvalidInputException($"{row.Place} column '{list}'", $"the model '{model}' twice", "one entry for each model",
                    "Which of the two ratings goes with which response is not known: leave one out.");
            }
        }
        return found;
    }

    private static IEnumerable<RatedResponse> OpenOrca(SourceRow row)
    {
        JsonElement[] generations = [.. row.List(row.Fields, "generations")];
        bool isRated = row.Get(row.Fields, "rating").ValueKind != JsonValueKind.Null;
        JsonElement[] ratings = isRated ? [.. row.List(row.Fields, "rating")] : [];
        if (isRated && ratings.Length != generations.Length)
        {
            throw new InvalidInputException(row.Place, $"{ratings.Length} ratings for {generations.Length} generations",
                "one rating for each generation", "Leave the row out, or correct it.");
        }
        string system = row.TextOrNone("system"), input = row.Text("input");
        Message[] prompt = system.Length > 0 ? [new Message("system", system), new Message("user", input)] : [new Message("user", input)];
        return row.Each(Enumerable.Range(0, generations.Length), i => Rated(row,
            Conversation.Create([.. prompt, new Message("assistant", Rows.TextOf(generations[i], row.Place, "generations"))], row.Place),
            isRated ? [("argilla-judge-lm", ratings[i], "rating", OneToTen)] : []));
    }

    private static RatedResponse Rated(SourceRow row, string prompt, string response,
        IEnumerable<(string, JsonElement, string, Scale)> ratings) =>
        Rated(row, Conversation.Create(prompt, response, row.Place), ratings);

    private static RatedResponse Rated(SourceRow row, Conversation conversation,
        IEnumerable<(string Objective, JsonElement Value, string Column, Scale Scale)> ratings)
    {
        Dictionary<string, double> scaled = [];
        foreach ((string objective, JsonElement value, string column, Scale scale) in ratings)
            if (Rows.Number(value, row.Place, column) is { } number) scaled[objective] = scale.Rescale(number, row.Place, column);
        return new RatedResponse(conversation, scaled);
    }

    private static string UltraFeedbackName(string aspect) => "ultrafeedback-" + aspect.Replace('_', '-');
}
