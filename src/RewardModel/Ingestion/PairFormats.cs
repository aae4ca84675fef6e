using System.Text.Json;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>The paper's preference data sets, the hub's merged layout, and RewardBench's.</summary>
public static class PairFormats
{
    private static readonly string[] CommonObjectives = ["ultrafeedback-overall-score", .. RatedFormats.PaperObjectives];

    private static readonly Dictionary<string, Func<SourceRow, IEnumerable<PreferencePair>>> Named = new(StringComparer.Ordinal)
    {
        ["pairs"] = row => [Pair(row)],
        ["argilla-capybara"] = row => [row.InOrder().Pair(row.Messages("chosen"), row.Messages("rejected"))],
        ["argilla-math"] = row =>
            [row.InOrder().Pair(Given(row, "instruction", "chosen_response"), Given(row, "instruction", "rejected_response"))],
        ["shp"] = row => [Labelled(row, row.PrefersFirst("labels", 1, 0), "history", "human_ref_A", "human_ref_B")],
        ["hh-rlhf"] = row => [row.Pair(Transcript.Parse(row.Text("chosen"), row.Place), Transcript.Parse(row.Text("rejected"), row.Place))],
        ["pku-saferlhf"] = row => [Labelled(row, row.PrefersFirst("better_response_id", 0, 1), "prompt", "response_0", "response_1")],
        ["prometheus2"] = row =>
            [Labelled(row, row.PrefersFirst("orig_preference", "A", "B"), "orig_instruction", "orig_response_A", "orig_response_B")],
        ["prm-phase-2"] = ProcessSteps,
        ["ultrafeedback"] = row => BestAgainstOthers(row, "ultrafeedback"),
        ["code-ultrafeedback"] = row => BestAgainstOthers(row, "code-ultrafeedback"),
    };

    /// <summary>The names of the formats for preference data.</summary>
    public static IEnumerable<string> Names => Named.Keys;

    /// <summary>The reader of a format: from a row to its pairs.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <exception cref="InvalidInputException">There is no format of that name.</exception>
    public static Func<SourceRow, IEnumerable<PreferencePair>> Find(string name) =>
        Named.TryGetValue(name, out Func<SourceRow, IEnumerable<PreferencePair>>? read) ? read
            : throw new InvalidInputException("preferences", $"format '{name}'", "a format for preference data",
                DidYouMean.Suggest(name, Names));

    /// <summary>RewardBench's layout: prompt, chosen, rejected (texts, or lists of messages), subset, id.</summary>
    public static BenchmarkPair RewardBench(SourceRow row)
    {
        PreferencePair pair = Pair(row);
        JsonElement id = row.Get(row.Fields, "id");
        string name = id.ValueKind switch
        {
            JsonValueKind.String => id.GetString()!,
            JsonValueKind.Number => id.GetRawText(),
            _ => throw new InvalidInputException($"{row.Place} column 'id'", Rows.Kind(id), "a number or text", "Give each row an id."),
        };
        return new BenchmarkPair(name, row.Text("subset"), pair.Chosen, pair.Rejected);
    }

    /// <summary>A pair of answers, each as a list of messages or as a text, with or without the prompt's column.</summary>
    public static PreferencePair Pair(SourceRow row) => row.Pair(row.Answer("chosen"), row.Answer("rejected"));

    private static PreferencePair Labelled(SourceRow row, bool firstIsBetter, string prompt, string first, string second)
    {
        Conversation a = Given(row, prompt, first), b = Given(row, prompt, second);
        return firstIsBetter ? row.Pair(a, b) : row.Pair(b, a);
    }

    private static Conversation Given(SourceRow row, string prompt, string response) =>
        Conversation.Create(row.Text(prompt), row.Text(response), row.Place);

    /// <summary>The response rated highest against each that is rated lower, by the first objective on which two can be compared.</summary>
    private static IEnumerable<PreferencePair> BestAgainstOthers(SourceRow row, string format)
    {
        List<RatedResponse> responses = [.. RatedFormats.Find(format, [], [], []).Read(row)];
        string? objective = CommonObjectives.FirstOrDefault(o => responses.Count(r => r.Ratings.ContainsKey(o)) > 1);
        if (objective is null) yield break;
        List<RatedResponse> rated = [.. responses.Where(r => r.Ratings.ContainsKey(objective))];
        RatedResponse best = rated.MaxBy(r => r.Ratings[objective])!;
        foreach (RatedResponse other in rated)
        {
            if (other.Ratings[objective] < best.Ratings[objective] && other.Conversation.Id != best.Conversation.Id)
                yield return new PreferencePair(best.Conversation, other.Conversation);
        }
    }

    /// <summary>
    /// PRM800K, phase 2: at each step the completion rated 1 against each rated −1, after the steps that the labeller went on with. Which
    /// these are <c>chosen_completion</c> says; neutral ones are among them, and where it says nothing the trajectory ends.
    /// </summary>
    private static IEnumerable<PreferencePair> ProcessSteps(SourceRow row)
    {
        string problem = Rows.TextOf(row.Get(row.Get(row.Fields, "question"), "problem"), row.Place, "problem");
        List<string> before = [];
        List<(string Good, string Bad)> pairs = [];
        int number = 0;
        foreach (JsonElement element in row.List(row.Get(row.Fields, "label"), "steps"))
        {
            Step step = Step.Read(row with { Place = $"{row.Place} step {++number}" }, element);
            if (step.Good is { } good)
                pairs.AddRange(step.Bad.Where(bad => bad != good).Select(bad => (Solution(good), Solution(bad))));
            if (step.Chosen is not { } chosen) break;
            before.Add(chosen);
        }
        return row.Each(pairs,
            pair => row.Pair(Conversation.Create(problem, pair.Good, row.Place), Conversation.Create(problem, pair.Bad, row.Place)));

        string Solution(string last) => string.Join('\n', [.. before, last]);
    }

    /// <summary>A step of a trajectory: a good completion if there is one, the bad ones, and what the labeller went on with.</summary>
    private sealed record Step(string? Good, IReadOnlyList<string> Bad, string? Chosen)
    {
        private const string Completions = "completions", ChosenCompletion = "chosen_completion", HumanCompletion = "human_completion";

        public static Step Read(SourceRow row, JsonElement step)
        {
            if (row.Get(step, Completions).ValueKind == JsonValueKind.Null) return new Step(null, [], Human(row, step));
            List<(string Text, double? Rating)> rated = [];
            foreach (JsonElement completion in row.List(step, Completions))
                rated.Add((Rows.TextOf(row.Get(completion, "text"), row.Place, "text"), Rating(row, row.Get(completion, "rating"))));
            string? good = rated.Where(c => c.Rating == 1).Select(c => c.Text).FirstOrDefault();
            string[] bad = [.. rated.Where(c => c.Rating == -1).Select(c => c.Text)];
            return new Step(good, bad, ChosenOf(row, step, rated, good));
        }

        private static double? Rating(SourceRow row, JsonElement value) => Rows.Number(value, row.Place, "rating") switch
        {
            null => null,
            -1 or 0 or 1 => Rows.Number(value, row.Place, "rating"),
            _ => throw new InvalidInputException($"{row.Place} column 'rating'", value.ToString(), "-1, 0 or 1", "Correct the rating."),
        };

        private static string? ChosenOf(SourceRow row, JsonElement step, List<(string Text, double? Rating)> rated, string? good)
        {
            if (!step.TryGetProperty(ChosenCompletion, out JsonElement chosen)) return good; // sets that were made anew without it
            if (chosen.ValueKind == JsonValueKind.Null) return Human(row, step);
            if (chosen.ValueKind == JsonValueKind.Number && chosen.TryGetInt32(out int index) && index >= 0 && index < rated.Count)
                return rated[index].Text;
            throw new InvalidInputException($"{row.Place} column '{ChosenCompletion}'", chosen.ToString(),
                $"null, or the place of one of {rated.Count} completions, from 0", "Correct it.");
        }

        /// <summary>What a labeller wrote where no completion was right.</summary>
        private static string? Human(SourceRow row, JsonElement step)
        {
            if (!step.TryGetProperty(HumanCompletion, out JsonElement human) || human.ValueKind == JsonValueKind.Null) return null;
            return Rows.TextOf(human.ValueKind == JsonValueKind.Object ? row.Get(human, "text") : human, row.Place, HumanCompletion);
        }
    }
}

/// <summary>HH-RLHF's transcripts: turns that begin with a blank line and "Human:" or "Assistant:".</summary>
internal static class Transcript
{
    private const string Human = "\n\nHuman:", Assistant = "\n\nAssistant:";

    /// <summary>Whether a text is a whole transcript rather than one turn.</summary>
    public static bool Is(string text) => Plain(text).StartsWith(Human, StringComparison.Ordinal);

    private static string Plain(string text) => text.Contains('\r') ? text.ReplaceLineEndings("\n") : text;

    public static Conversation Parse(string text, string place)
    {
        text = Plain(text);
        List<Message> messages = [];
        int at = 0;
        if (!text.StartsWith(Human, StringComparison.Ordinal))
        {
            throw new InvalidInputException(place,
                $"a transcript that begins with '{text[..Math.Min(20, text.Length)].ReplaceLineEndings(" ")}'",
                "a blank line and 'Human:'", "Check that the source is HH-RLHF's.");
        }
        while (at < text.Length)
        {
            bool human = string.CompareOrdinal(text, at, Human, 0, Human.Length) == 0;
            int begin = at + (human ? Human : Assistant).Length;
            int nextHuman = text.IndexOf(Human, begin, StringComparison.Ordinal),
                nextAssistant = text.IndexOf(Assistant, begin, StringComparison.Ordinal);
            int end = Math.Min(nextHuman < 0 ? text.Length : nextHuman, nextAssistant < 0 ? text.Length : nextAssistant);
            messages.Add(new Message(human ? "user" : "assistant", PythonText.Strip(text[begin..end]))); // a blank is the layout's
            at = end;
        }
        return Conversation.Create(messages, place);
    }
}
