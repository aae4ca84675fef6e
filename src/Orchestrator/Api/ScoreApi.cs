using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Scoring;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Access;
using MassTransit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>What to score: turns that end with the assistant's, or a prompt and a response.</summary>
public sealed record ScoreInput(IReadOnlyList<ChatTurn>? Messages = null, string? Prompt = null, string? Response = null);

/// <summary>Two responses to one prompt.</summary>
public sealed record PairInput(string Prompt, string Chosen, string Rejected);

/// <summary>A request for scores by one model.</summary>
public sealed record ScoreRequest
{
    /// <summary>NAME, NAME@ALIAS or NAME@VERSION; or else a run.</summary>
    public string? Model { get; init; }
    public Guid? Run { get; init; }
    public IReadOnlyList<ScoreInput> Items { get; init; } = [];
    public IReadOnlyList<PairInput> Pairs { get; init; } = [];

    /// <summary>One response, without a list.</summary>
    public string? Prompt { get; init; }
    public string? Response { get; init; }

    /// <summary>OBJ=W fixes a coefficient, OBJ=*F scales it.</summary>
    public IReadOnlyList<string> Steer { get; init; } = [];

    /// <summary>False to leave the objectives' parts out.</summary>
    public bool Explain { get; init; } = true;
}

public sealed record ScoreOutput(double Score, IReadOnlyList<ScoredObjective>? Objectives);

/// <param name="Chosen">The chosen response.</param>
/// <param name="Rejected">The rejected response.</param>
/// <param name="ChosenWins">True where the chosen one scores higher, by more than rounding.</param>
/// <param name="Tied">True where the two differ by rounding alone.</param>
public sealed record PairOutput(ScoreOutput Chosen, ScoreOutput Rejected, bool ChosenWins, bool Tied);

/// <summary>Scores in the order of the items and pairs, and what scored them.</summary>
/// <param name="Model">The model.</param>
/// <param name="Version">Its version; null for a run that was named itself.</param>
/// <param name="RunId">The run that trained it.</param>
/// <param name="Scores">Of the items.</param>
/// <param name="Pairs">Of the pairs.</param>
/// <param name="NoSignal">Why the model's scores mean nothing; null where they mean something.</param>
public sealed record ScoreAnswer(string Model, int? Version, Guid RunId, IReadOnlyList<ScoreOutput> Scores,
    IReadOnlyList<PairOutput> Pairs, string? NoSignal);

/// <summary>What OpenRLHF's trainers send to --remote_rm_url: prompts and responses as the chat template renders them.</summary>
public sealed record RewardRequest(IReadOnlyList<string> Query);

/// <summary>What they read: rewards to train on, scores to filter by, figures to log.</summary>
public sealed record RewardAnswer
{
    public required IReadOnlyList<double> Rewards { get; init; }
    public required IReadOnlyList<double> Scores { get; init; }

    [System.Text.Json.Serialization.JsonPropertyName("extra_logs")]
    public required IReadOnlyDictionary<string, IReadOnlyList<double>> ExtraLogs { get; init; }
}

/// <summary>The HTTP calls that score.</summary>
internal static class ScoreApi
{
    private const int MostItems = 4096;

    public static void MapScoreApi(this IEndpointRouteBuilder app)
    {
        app.MapPost("/api/v1/score", Score).Requires(Scope.Viewer).WithTags("scoring").WithSummary("Scores responses, one or many, or pairs of them, each with its explanation.");
        app.MapPost("/get_reward", Reward).Requires(Scope.Viewer).WithTags("scoring").WithSummary("The reward endpoint of OpenRLHF's --remote_rm_url; the model stands in the query: ?model=NAME@ALIAS.");
    }

    private static async Task<ScoreAnswer> Score(ScoreRequest request, ScoreService service, CancellationToken cancel)
    {
        RequireLists(request);
        List<ScoreItem> items = [.. request.Items.Select((item, i) => Item(item, $"items[{i}]")), .. request.Pairs.SelectMany(p => new[] { Item(p.Prompt, p.Chosen), Item(p.Prompt, p.Rejected) })];
        if (request.Response is not null) items.Insert(0, Item(new ScoreInput(null, request.Prompt, request.Response), "the request"));
        int single = items.Count - (2 * request.Pairs.Count);
        (ScoringModel model, ScoredResponse[] scores) = await service.Score(request.Model, request.Run, Bounded(items), request.Steer, cancel);
        ScoreOutput[] outputs = [.. scores.Select((s, i) => new ScoreOutput(Require(s, i), request.Explain ? s.Objectives : null))];
        PairOutput[] pairs = [.. Enumerable.Range(0, request.Pairs.Count).Select(i => Pair(single + (2 * i)))];
        return new ScoreAnswer(model.Model, model.Version, model.RunId, outputs[..single], pairs, model.NoSignal);

        PairOutput Pair(int at) =>
            new(outputs[at], outputs[at + 1], scores[at].IsAbove(scores[at + 1]), scores[at].IsTiedWith(scores[at + 1]));
    }

    private static async Task<RewardAnswer> Reward(RewardRequest request, ScoreService service, CancellationToken cancel, string? model = null, string? run = null)
    {
        Guid? id = run is null ? null : Guid.TryParse(run, out Guid parsed) ? parsed : throw new ScoreRequestException($"run '{run}' is not an id.");
        ScoreItem[] items = [.. (request.Query ?? throw new ScoreRequestException("no 'query'; expected a list of rendered conversations.")).Select(q => new ScoreItem(null, q))];
        // OpenRLHF shares its queries among its servers, and sends an empty list to one that none is left for.
        if (items.Length == 0) return new RewardAnswer { Rewards = [], Scores = [], ExtraLogs = new Dictionary<string, IReadOnlyList<double>>() };
        (_, ScoredResponse[] scores) = await service.Score(model, id, Bounded(items), [], cancel);
        double[] rewards = [.. scores.Select(Require)];
        string[] objectives = scores.Length == 0 ? [] : [.. scores[0].Objectives.Select(o => o.Objective)];
        return new RewardAnswer { Rewards = rewards, Scores = rewards, ExtraLogs = objectives.Select((name, o) => (name, o)).ToDictionary(x => x.name, x => (IReadOnlyList<double>)[.. scores.Select(s => s.Objectives[x.o].Reward)]) };
    }

    /// <summary>A list that is left out is empty; one that is null, or holds null, is a mistake of the caller's.</summary>
    private static void RequireLists(ScoreRequest request)
    {
        Require("items", request.Items);
        Require("pairs", request.Pairs);
        Require("steer", request.Steer);

        static void Require(string name, System.Collections.IEnumerable? list)
        {
            if (list is null) throw new ScoreRequestException($"{name}: null; expected a list. Leave '{name}' out, or give [].");
            if (list.Cast<object?>().Any(i => i is null)) throw new ScoreRequestException($"{name}: an item is null; expected none. Remove it.");
        }
    }

    private static ScoreItem Item(ScoreInput input, string place) => input is { Messages: { } messages, Prompt: null, Response: null } ? new ScoreItem(messages)
        : input is { Messages: null, Prompt: { } prompt, Response: { } response } ? Item(prompt, response)
        : throw new ScoreRequestException($"{place}: expected messages, or prompt and response.");

    private static ScoreItem Item(string prompt, string response) => new([new ChatTurn("user", prompt), new ChatTurn("assistant", response)]);

    private static IReadOnlyList<ScoreItem> Bounded(IReadOnlyList<ScoreItem> items) => items.Count is > 0 and <= MostItems ? items : throw new ScoreRequestException($"{items.Count} items; expected 1 to {MostItems}.");

    private static double Require(ScoredResponse response, int index) => response.Score ?? throw new ScoreRequestException($"item {index + 1}: {response.Error}");

    private sealed class ScoreRequestException(string message) : RefusedException(message, Refusal.Unusable);
}
