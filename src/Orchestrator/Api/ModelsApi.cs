using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Orchestrator.Scoring;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Models;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>What an alias is to mean.</summary>
/// <param name="Version">A version's number.</param>
/// <param name="Force">Though a gate does not hold; needs a reason.</param>
/// <param name="Reason">Why.</param>
public sealed record AliasRequest(int Version, bool Force = false, string? Reason = null);

/// <summary>Where an alias is to go back to.</summary>
/// <param name="Reason">Why.</param>
/// <param name="To">A version further back; the one before, if it is left out.</param>
public sealed record RollbackRequest(string? Reason, int? To = null);

/// <summary>Where a model's backbone lies now.</summary>
/// <param name="Path">The folder, as the workers see it too.</param>
/// <param name="Version">Of which version; of the champion, else the newest, if it is left out.</param>
public sealed record BackboneRequest(string Path, int? Version = null);

public sealed record DescribeRequest(string? Notes, IReadOnlyList<string>? Tags);

/// <summary>What evidence is wanted on.</summary>
public sealed record EvidenceRequest
{
    /// <summary>NAME, NAME@ALIAS or NAME@VERSION.</summary>
    public required string Model { get; init; }

    /// <summary>With the response: the score that is asked about.</summary>
    public string? Prompt { get; init; }
    public string? Response { get; init; }
}

/// <summary>The HTTP calls for the model registry.</summary>
internal static class ModelsApi
{
    public static void MapModelsApi(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder models = app.MapGroup("/api/v1/models").WithTags("models").Requires(Scope.Viewer);
        models.MapGet("", (ModelRegistry registry, CancellationToken cancel) => registry.List(cancel))
            .WithSummary("Names of models, with what their aliases mean now.");
        models.MapGet("{name}/versions", (string name, ModelService service, CancellationToken cancel) => service.Versions(name, cancel))
            .WithSummary("A model's versions, newest first.");
        models.MapGet("{name}/history", (string name, ModelRegistry registry, CancellationToken cancel) => registry.History(name, cancel))
            .WithSummary("All that was ever known of a model's aliases, newest first.");
        models.MapGet("{name}/evaluations",
            (string name, AlertStore store, CancellationToken cancel, int limit = 100) =>
                store.Evaluations(name, Math.Clamp(limit, 1, 1000), cancel))
            .WithSummary("What runs that evaluated its versions found, newest first, with the gates' verdicts.");
        models.MapGet("{name}/alerts",
            (string name, AlertStore store, CancellationToken cancel, int limit = 100) =>
                store.Alerts(name, Math.Clamp(limit, 1, 1000), cancel))
            .WithSummary("Evaluations that fell below their gates, newest first, and whether the webhook has been told.");
        models.MapGet("{name}/aliases/{alias}", At)
            .WithSummary("What an alias means, or meant at a time (at), as it was known at another (known).");
        models.MapPut("{name}/aliases/{alias}", Promote)
            .Requires(Scope.Operator)
            .WithSummary("Runs the version's gates and, if all hold or it is forced with a reason, lets the alias mean it; 202 while it "
                + "waits for other people to ask too.");
        models.MapPost("{name}/aliases/{alias}/rollback",
            RollBack)
            .Requires(Scope.Operator)
            .WithSummary("Lets an alias mean again what it meant before, one step further back each time, or a version further back.");
        models.MapGet("{name}/policy", Policy).WithSummary("What the model asks of each of its versions, whatever their specs say.");
        models.MapGet("{name}/policy/history", (string name, PolicyStore policies, CancellationToken cancel) =>
            policies.History(name, cancel)).WithSummary("All that the model's policy ever was, newest first.");
        models.MapPut("{name}/policy", SetPolicy).Requires(Scope.Admin).Accepts<PolicySpec>("application/yaml",
            "application/json")
            .WithSummary("Sets the model's policy: the keys of a spec's 'promotion' and 'promoters', as YAML or JSON, for a reason.");
        models.MapDelete("{name}/policy", (string name, PolicyStore policies, CancellationToken cancel, string? reason = null) =>
            policies.Remove(name, reason,
            cancel))
            .Requires(Scope.Admin)
            .WithSummary("Removes the model's policy, for a reason: specs alone say what is asked of it from now on.");
        models.MapPut("{name}/backbone",
            PlaceBackbone)
            .Requires(Scope.Operator)
            .WithSummary("Says where the model's backbone lies now; its files are hashed before that is believed.");
        models.MapPost("evidence", Evidence)
            .WithSummary("One archive (zip) with what is known of a version, and of a score of it if one is asked about.");
        models.MapPatch("{name}/versions/{version:int}",
            async (string name, int version, DescribeRequest request, ModelRegistry registry, CancellationToken cancel) =>
                await registry.Describe(await registry.Resolve($"{name}@{version}", cancel), request.Notes, request.Tags, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Sets a version's notes and tags.");
    }

    private static async Task<Results<Ok<AliasPeriod>, ProblemHttpResult>> At(
        string name, string alias, ModelRegistry registry, TimeProvider time, CancellationToken cancel, DateTimeOffset? at = null,
        DateTimeOffset? known = null)
    {
        bool isNow = at is null && known is null;
        AliasPeriod? period = isNow ? await registry.Current(name, alias, cancel)
            : await registry.At(name, alias, at ?? time.GetUtcNow(), known, cancel);
        return period is not null ? TypedResults.Ok(period)
            : TypedResults.Problem($"{name}@{alias} meant nothing then", title: "Not found.", statusCode: StatusCodes.Status404NotFound);
    }

    private static Task<AliasPeriod> RollBack(string name, string alias, RollbackRequest? request, ModelService service,
        CancellationToken cancel) =>
        service.RollBack(name, alias, request?.To, request?.Reason, cancel);

    private static async Task<Results<Ok<ModelPolicy>,
        ProblemHttpResult>> Policy(string name, PolicyStore policies, CancellationToken cancel) =>
        await policies.Current(name, cancel) is { } policy ? TypedResults.Ok(policy)
            : TypedResults.Problem($"model '{name}' has no policy", title: "Not found.", statusCode: StatusCodes.Status404NotFound);

    private static async Task<ModelPolicy> SetPolicy(string name, HttpRequest request, PolicyStore policies, CancellationToken cancel,
        string? reason = null)
    {
        using StreamReader reader = new(request.Body);
        return await policies.Set(name, SpecReader.ParsePolicy(await reader.ReadToEndAsync(cancel), "policy"), reason, cancel);
    }

    private static Task<PlacedBackbone> PlaceBackbone(string name, BackboneRequest request, ModelService service,
        CancellationToken cancel) =>
        service.PlaceBackbone(request.Version is { } version ? $"{name}@{version}" : name, request.Path ?? "", cancel);

    private static async Task<FileStreamHttpResult> Evidence(EvidenceRequest request, HttpContext context, ModelRegistry registry,
        EvidencePack pack, ScoreService scores, CancellationToken cancel)
    {
        ModelVersion version = await registry.Resolve(request.Model ?? "", cancel);
        object? score = null;
        if (request is { Prompt: { } prompt, Response: { } response })
        {
            score = new
            {
                model = $"{version.Model}@{version.Version}",
                prompt,
                response,
                explanation = (await scores.Score(null, version.RunId,
                    [new ScoreItem([new ChatTurn("user", prompt), new ChatTurn("assistant", response)])], [], cancel)).Scores[0]
            };
        }
        FileStream file = TemporaryFile.For(context);
        await pack.Pack(version, score, file, cancel);
        file.Position = 0;
        return TypedResults.File(file, "application/zip", $"{version.Model}-{version.Version}-evidence.zip");
    }

    private static async Task<Results<Ok<Promotion>, JsonHttpResult<Promotion>>> Promote(string name, string alias, AliasRequest request,
        ModelService service, CancellationToken cancel)
    {
        Promotion promotion = await service.Promote($"{name}@{request.Version}", alias, request.Force, request.Reason, cancel);
        return promotion.Promoted
            ? TypedResults.Ok(promotion)
            : TypedResults.Json(promotion,
                statusCode: promotion.Waiting is null ? StatusCodes.Status409Conflict : StatusCodes.Status202Accepted);
    }
}
