using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Clients;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>The HTTP calls for the model registry.</summary>
internal static class ModelsApi
{
    public static void MapModelsApi(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder models = app.MapGroup("/api/v1/models").WithTags("models").Requires(Scope.Viewer);
        models.MapGet("", (RecordsClient records, CancellationToken cancel) => records.ListModels(cancel))
            .WithSummary("Names of models, with what their aliases mean now.");
        models.MapGet("version",
            (string reference, RecordsClient records, CancellationToken cancel) => records.FindVersion(reference, cancel))
            .WithSummary("The version that NAME, NAME@ALIAS or NAME@VERSION means; NAME alone is its champion, else its newest.");
        models.MapGet("{name}/versions", (string name, RecordsClient records, CancellationToken cancel) => records.Versions(name, cancel))
            .WithSummary("A model's versions, newest first.");
        models.MapGet("{name}/history",
            (string name, RecordsClient records, CancellationToken cancel) => records.AliasHistory(name, cancel))
            .WithSummary("All that was ever known of a model's aliases, newest first.");
        models.MapGet("{name}/evaluations",
            (string name, RecordsClient records, CancellationToken cancel, int limit = 100) =>
                records.Evaluations(name, Math.Clamp(limit, 1, 1000), cancel))
            .WithSummary("What runs that evaluated its versions found, newest first, with the gates' verdicts.");
        models.MapGet("{name}/alerts",
            (string name, RecordsClient records, CancellationToken cancel, int limit = 100) =>
                records.Alerts(name, Math.Clamp(limit, 1, 1000), cancel))
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
        models.MapGet("{name}/policy/history",
            (string name, RecordsClient records, CancellationToken cancel) => records.ModelPolicyHistory(name, cancel))
            .WithSummary("All that the model's policy ever was, newest first.");
        models.MapPut("{name}/policy", SetPolicy).Requires(Scope.Admin).Accepts<PolicySpec>("application/yaml",
            "application/json")
            .WithSummary("Sets the model's policy: the keys of a spec's 'promotion' and 'promoters', as YAML or JSON, for a reason.");
        models.MapDelete("{name}/policy",
            (string name, RecordsClient records, CancellationToken cancel, string? reason = null) =>
                records.RemoveModelPolicy(name, reason ?? "", cancel))
            .Requires(Scope.Admin)
            .WithSummary("Removes the model's policy, for a reason: specs alone say what is asked of it from now on.");
        models.MapPut("{name}/backbone",
            PlaceBackbone)
            .Requires(Scope.Operator)
            .WithSummary("Says where the model's backbone lies now; its files are hashed before that is believed.");
        app.MapGet("/api/v1/backbones/{digest}", Place)
            .Requires(Scope.Viewer)
            .WithTags("models")
            .WithSummary("Where the backbone of a digest is said to lie.");
        models.MapPost("evidence", Evidence)
            .WithSummary("One archive (zip) with what is known of a version, and of a score of it if one is asked about.");
        models.MapPatch("{name}/versions/{version:int}",
            (string name, int version, DescribeRequest request, RecordsClient records, CancellationToken cancel) =>
                records.Describe(name, version, request, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Sets a version's notes and tags.");
    }

    private static async Task<Results<Ok<AliasPeriodDocument>, ProblemHttpResult>> At(
        string name, string alias, RecordsClient records, CancellationToken cancel, DateTimeOffset? at = null,
        DateTimeOffset? known = null) =>
        await records.AliasAt(name, alias, at, known, cancel) is { } period
            ? TypedResults.Ok(period)
            : TypedResults.Problem($"{name}@{alias} meant nothing then", title: "Not found.", statusCode: StatusCodes.Status404NotFound);

    private static Task<AliasPeriodDocument> RollBack(string name, string alias, RollbackRequest? request, RecordsClient records,
        CancellationToken cancel) => records.RollBack(name, alias, request ?? new RollbackRequest(null), cancel);

    private static async Task<Results<Ok<ModelPolicyDocument>, ProblemHttpResult>> Policy(string name, RecordsClient records,
        CancellationToken cancel) =>
        await records.ModelPolicy(name, cancel) is { } policy
            ? TypedResults.Ok(policy)
            : TypedResults.Problem($"model '{name}' has no policy", title: "Not found.", statusCode: StatusCodes.Status404NotFound);

    private static async Task<ModelPolicyDocument> SetPolicy(string name, HttpRequest request, RecordsClient records,
        CancellationToken cancel, string? reason = null)
    {
        using StreamReader reader = new(request.Body);
        PolicySpec policy = SpecReader.ParsePolicy(await reader.ReadToEndAsync(cancel), "policy");
        return await records.SetModelPolicy(name, policy, reason ?? "", cancel);
    }

    private static async Task<Results<Ok<BackbonePlace>, ProblemHttpResult>> Place(string digest, RecordsClient records,
        CancellationToken cancel) =>
        await records.BackboneOf(digest, cancel) is { } path
            ? TypedResults.Ok(new BackbonePlace(digest, path))
            : TypedResults.Problem($"nobody said where backbone {digest} lies", title: "Not found.",
                statusCode: StatusCodes.Status404NotFound);

    private static Task<PlacedBackbone> PlaceBackbone(string name, BackboneRequest request, RecordsClient records,
        CancellationToken cancel) => records.PlaceBackbone(name, request, cancel);

    private static async Task<FileStreamHttpResult> Evidence(EvidenceRequest request, HttpContext context, RecordsClient records,
        CancellationToken cancel)
    {
        ModelVersionDocument version = await records.FindVersion(request.Model ?? "", cancel);
        FileStream file = TemporaryFile.For(context);
        await records.WriteEvidence(request with { Model = $"{version.Model}@{version.Version}" }, file, cancel);
        file.Position = 0;
        return TypedResults.File(file, "application/zip", $"{version.Model}-{version.Version}-evidence.zip");
    }

    private static async Task<Results<Ok<Promotion>, JsonHttpResult<Promotion>>> Promote(string name, string alias, AliasRequest request,
        RecordsClient records, CancellationToken cancel)
    {
        Promotion promotion = await records.Promote(name, alias, request, cancel);
        return promotion.Promoted
            ? TypedResults.Ok(promotion)
            : TypedResults.Json(promotion,
                statusCode: promotion.Waiting is null ? StatusCodes.Status409Conflict : StatusCodes.Status202Accepted);
    }
}
