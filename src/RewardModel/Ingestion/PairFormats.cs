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
        ["argilla-capybara"] = row => [row.Pair(row.Messages("chosen"), row.Messages("rejected"))],
        ["argilla-math"] = row => [row.Pair(Conversation.Create(row.Text("instruction"), row.Text("chosen_response"), row.Place), Conversation.Create(row.Text("instruction"), row.Text("rejected_response"), row.Place))],
        ["shp"] = row => [Labelled(row, row.Text("history"), row.Text("human_ref_A"), row.Text("human_ref_B"), Rows.Number(row.Get(row.Fields, "labels"), row.Place, "labels") == 1)],
        ["hh-rlhf"] = row => [row.Pair(Transcript.Parse(row.Text("chosen"), row.Place), Transcript.Parse(row.Text("rejected"), row.Place))],
        ["pku-saferlhf"] = row => [Labelled(row, row.Text("prompt"), row.Text("response_0"), row.Text("response_1"), Rows.Number(row.Get(row.Fields, "better_response_id"), row.Place, "better_response_id") == 0)],
        ["prometheus2"] = row => [Labelled(row, row.Text("orig_instruction"), row.Text("orig_response_A"), row.Text("orig_response_B"), row.Text("orig_preference") == "A")],
        ["prm-phase-2"] = ProcessSteps,
        ["ultrafeedback"] = row => BestAgainstOthers(row, "ultrafeedback"),
        ["code-ultrafeedback"] = row => BestAgainstOthers(row, "code-ultrafeedback"),
    };

    public static IEnumerable<string> Names => Named.Keys;

    public static Func<SourceRow, IEnumerable<PreferencePair>> Find(string name) => Named.TryGetValue(name, out Func<SourceRow, IEnumerable<PreferencePair>>? read) ? read
        : throw new InvalidInputException("preferences", $"format '{name}'", "a format for preference data", DidYouMean.Suggest(name, Names));

    /// <summary>RewardBench's layout: prompt, chosen, rejected (text, or lists of messages), subset, id.</summary>
    public static BenchmarkPair RewardBench(SourceRow row)
    {
        PreferencePair pair = Pair(row);
        JsonElement id = row.Get(row.Fields, "id");
        return new BenchmarkPair(id.ValueKind == JsonValueKind.String ? id.GetString()! : id.GetRawText(), row.Text("subset"), pair.Chosen, pair.Rejected);
    }

    /// <summary>A pair as two lists of messages, or as a prompt and two texts.</summary>
    public static PreferencePair Pair(SourceRow row) => row.Get(row.Fields, "chosen").ValueKind == JsonValueKind.Array
        ? row.Pair(row.Messages("chosen"), row.Messages("rejected"))
        : row.Pair(Conversation.Create(row.Text("prompt"), row.Text("chosen"), row.Place), Conversation.Create(row.Text("prompt"), row.Text("rejected"), row.Place));

    private static PreferencePair Labelled(SourceRow row, string prompt, string a, string b, bool firstIsBetter)
    {
        Conversation first = Conversation.Create(prompt, a, row.Place), second = Conversation.Create(prompt, b, row.Place);
        return firstIsBetter ? row.Pair(first, second) : row.Pair(second, first);
    }

    /// <summary>The response rated highest against each that is rated lower.</summary>
    private static IEnumerable<PreferencePair> BestAgainstOthers(SourceRow row, string format)
    {
        List<(Conversation Conversation, double Rating)> rated = [.. RatedFormats.Find(format, [], [], []).Read(row)
            .Where(r => r.Ratings.Count > 0).Select(r => (r.Conversation, CommonObjectives.Where(r.Ratings.ContainsKey).Select(o => r.Ratings[o]).First()))];
        if (rated.Count == 0) yield break;
        (Conversation best, double top) = rated.MaxBy(r => r.Rating);
        foreach ((Conversation other, double rating) in rated)
            if (rating < top && other.Id != best.Id) yield return new PreferencePair(best, other);
    }

    /// <summary>PRM800K, phase 2: at each step, a completion rated 1 against each rated −1, after the steps before it.</summary>
    private static IEnumerable<PreferencePair> ProcessSteps(SourceRow row)
    {
        string problem = Rows.TextOf(row.Get(row.Get(row.Fields, "question"), "problem"), row.Place, "problem");
        List<string> before = [];
        foreach (JsonElement step in row.Get(row.Get(row.Fields, "label"), "steps").EnumerateArray())
        {
            JsonElement completions = row.Get(step, "completions");
            if (completions.ValueKind != JsonValueKind.Array) yield break;
            List<(string Text, double? Rating)> rated = [.. completions.EnumerateArray().Select(c => (Rows.TextOf(row.Get(c, "text"), row.Place, "text"), Rows.Number(row.Get(c, "rating"), row.Place, "rating")))];
            string? good = rated.Where(c => c.Rating == 1).Select(c => c.Text).FirstOrDefault();
            if (good is null) yield break;
            foreach ((string bad, _) in rated.Where(c => c.Rating == -1 && c.Text != good))
                yield return row.Pair(Solution(good), Solution(bad));
            before.Add(good);
        }

        Conversation Solution(string last) => Conversation.Create(problem, string.Join('\n', [.. before, last]), row.Place);
    }
}

/// <summary>HH-RLHF's transcripts: turns that begin with a blank line and "Human:" or "Assistant:".</summary>
internal static class Transcript
{
    private const string Human = "\n\nHuman:", Assistant = "\n\nAssistant:";

    public static Conversation Parse(string text, string place)
    {
        List<Message> messages = [];
        int at = 0;
        if (!text.StartsWith(Human, StringComparison.Ordinal))
            throw new InvalidInputException(place, $"a transcript that begins with '{text[..Math.Min(20, text.Length)].ReplaceLineEndings(" ")}'", "a blank line and 'Human:'", "Check that the source is HH-RLHF's.");
        while (at < text.Length)
        {
            bool human = string.CompareOrdinal(text, at, Human, 0, Human.Length) == 0;
            int begin = at + (human ? Human : Assistant).Length;
            int nextHuman = text.IndexOf(Human, begin, StringComparison.Ordinal), nextAssistant = text.IndexOf(Assistant, begin, StringComparison.Ordinal);
            int end = Math.Min(nextHuman < 0 ? text.Length : nextHuman, nextAssistant < 0 ? text.Length : nextAssistant);
            messages.Add(new Message(human ? "user" : "assistant", text[begin..end]));
            at = end;
        }
        return Conversation.Create(messages, place);
    }
}
