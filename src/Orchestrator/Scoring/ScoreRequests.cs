using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Persistence;

namespace ArmoFlow.Orchestrator.Scoring;

/// <summary>Reads requests for scores, and answers them: what is wrong with one is said by its place in the request.</summary>
public sealed class ScoreRequests(ScoreService service)
{
    private const int MostItems = 4096, MostNamed = 5;
    private const long MostCharacters = 1 << 20; // of an item: far more than any context holds

    /// <summary>Scores of single responses and of pairs.</summary>
    /// <exception cref="RefusedException">An item cannot be scored, or there is no such model; each is named.</exception>
    public async Task<ScoreAnswer> Answer(ScoreRequest request, CancellationToken cancel)
    {
        RequireLists(request);
        if (request.Prompt is not null && request.Response is null)
            throw new ScoreRequestException("the request: a prompt without a response; expected both. Give the response, or items alone.");
        List<ScoreItem> items =
        [
            .. request.Items.Select((item, i) => Item(item, $"items[{i}]")),
            .. request.Pairs.SelectMany((pair, i) => Sides(pair, $"pairs[{i}]"))
        ];
        if (request.Response is not null) items.Insert(0, Item(new ScoreInput(null, request.Prompt, request.Response), "the request"));
        int single = items.Count - (2 * request.Pairs.Count);
        (ScoringModel model, ScoredResponse[] scores) =
            await service.Score(request.Model, request.Run, Bounded(items), request.Steer, cancel);
        RequireAll(scores);
        ScoreOutput[] outputs = [.. scores.Select(s => new ScoreOutput(s.Score!.Value, request.Explain ? s.Objectives : null, s.Rounding))];
        PairOutput[] pairs = [.. Enumerable.Range(0, request.Pairs.Count).Select(i => Pair(single + (2 * i)))];
        return new ScoreAnswer(model.Model, model.Version, model.RunId, outputs[..single], pairs, model.NoSignal);

        PairOutput Pair(int at) =>
            new(outputs[at], outputs[at + 1], scores[at].IsAbove(scores[at + 1]), scores[at].IsTiedWith(scores[at + 1]));
    }

    /// <summary>Rewards as OpenRLHF's trainers read them.</summary>
    /// <param name="request">Prompts with their responses.</param>
    /// <param name="model">NAME[@ALIAS or @VERSION]; null to go by the run.</param>
    /// <param name="run">The run; null to go by the model.</param>
    /// <param name="unscored">The reward of what cannot be scored; null to refuse the request then.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task<RewardAnswer> Reward(RewardRequest request, string? model, Guid? run, double? unscored, CancellationToken cancel)
    {
        Require("query", request.Query);
        // OpenRLHF shares its queries among its servers, and sends an empty list to one that none is left for.
        if (request.Query.Count == 0)
            return new RewardAnswer { Rewards = [], Scores = [], ExtraLogs = new Dictionary<string, IReadOnlyList<double>>() };
        ScoreItem[] items = [.. request.Query.Select(q => new ScoreItem(null, q))];
        (_, ScoredResponse[] scores) = await service.Score(model, run, Bounded(items), [], cancel);
        if (unscored is null) RequireAll(scores, "Or have such items rewarded with a number of yours: ?unscored=-10.");
        double[] rewards = [.. scores.Select(s => s.Score ?? unscored!.Value)];
        return new RewardAnswer { Rewards = rewards, Scores = rewards, ExtraLogs = Logs(scores, unscored is not null) };
    }

    /// <summary>Each objective's reward, 0 where there is none; and which items have none, where that is allowed.</summary>
    private static Dictionary<string, IReadOnlyList<double>> Logs(ScoredResponse[] scores, bool mayLack)
    {
        string[] objectives = [.. scores.FirstOrDefault(s => s.Score is not null)?.Objectives.Select(o => o.Objective) ?? []];
        Dictionary<string, IReadOnlyList<double>> logs = [];
        for (int o = 0; o < objectives.Length; o++)
        {
            int at = o;
            logs[objectives[o]] = [.. scores.Select(s => s.Score is null ? 0 : s.Objectives[at].Reward)];
        }
        if (mayLack) logs["unscored"] = [.. scores.Select(s => s.Score is null ? 1.0 : 0.0)];
        return logs;
    }

    /// <summary>A list that is left out is empty; one that is null, or holds null, is a mistake of the caller's.</summary>
    private static void RequireLists(ScoreRequest request)
    {
        Require("items", request.Items);
        Require("pairs", request.Pairs);
        Require("steer", request.Steer);
    }

    private static void Require(string name, IEnumerable<object?>? list)
    {
        if (list is null) throw new ScoreRequestException($"{name}: null; expected a list. Leave '{name}' out, or give [].");
        if (list.Contains(null)) throw new ScoreRequestException($"{name}: an item is null; expected none. Remove it.");
    }

    private static ScoreItem Item(ScoreInput input, string place)
    {
        if (input is { Messages: null, Prompt: { } prompt, Response: { } response }) return Item(prompt, response);
        if (input is not { Messages: { } messages, Prompt: null, Response: null })
            throw new ScoreRequestException($"{place}: expected messages, or prompt and response.");
        if (messages.Any(m => m is not { Role: not null, Content: not null }))
            throw new ScoreRequestException($"{place}: a message lacks its role or content; expected both, as text. Correct it.");
        return new ScoreItem(messages);
    }

    private static ScoreItem[] Sides(PairInput pair, string place) =>
        pair is { Prompt: { } prompt, Chosen: { } chosen, Rejected: { } rejected }
            ? [Item(prompt, chosen), Item(prompt, rejected)]
            : throw new ScoreRequestException($"{place}: expected prompt, chosen and rejected, as text.");

    private static ScoreItem Item(string prompt, string response) =>
        new([new ChatTurn("user", prompt), new ChatTurn("assistant", response)]);

    private static IReadOnlyList<ScoreItem> Bounded(IReadOnlyList<ScoreItem> items)
    {
        if (items.Count is 0 or > MostItems) throw new ScoreRequestException($"{items.Count} items; expected 1 to {MostItems}.");
        for (int i = 0; i < items.Count; i++)
        {
            if (items[i].Characters > MostCharacters)
            {
                throw new ScoreRequestException(
                    $"item {i + 1}: {items[i].Characters} characters; expected at most {MostCharacters}. Shorten it.");
            }
        }
        return items;
    }

    /// <summary>Refuses the whole request where one of its items cannot be scored, and names each that cannot.</summary>
    private static void RequireAll(ScoredResponse[] scores, string remedy = "")
    {
        string[] wrong = [.. scores.Index().Where(s => s.Item.Score is null).Select(s => $"item {s.Index + 1}: {s.Item.Error}")];
        if (wrong.Length == 0) return;
        string others = wrong.Length > MostNamed ? $" And {wrong.Length - MostNamed} others of {scores.Length}." : "";
        throw new ScoreRequestException($"{string.Join(" ", wrong.Take(MostNamed))}{others} {remedy}".TrimEnd());
    }

    private sealed class ScoreRequestException(string message) : RefusedException(message, Refusal.Unusable);
}
