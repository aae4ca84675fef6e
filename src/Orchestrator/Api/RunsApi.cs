using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;
using Hangfire;
using MassTransit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry.Metrics;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>The HTTP calls for runs, their artifacts, workers and faults.</summary>
public static class RunsApi
{
    public static IServiceCollection AddRunsApi(this IServiceCollection services) => services
        .AddRouting().AddProblemDetails().AddExceptionHandler<Problems>()
        .Configure<RouteHandlerOptions>(routes => routes.ThrowOnBadRequest = true) // so that Problems says what is wrong with it
        .ConfigureHttpJsonOptions(json => json.SerializerOptions.AllowDuplicateProperties = false)
        .AddOpenApi(document => document.AddOperationTransformer((operation, context, _) =>
        {
            if (context.Description.ActionDescriptor.EndpointMetadata.OfType<RequiredScope>().LastOrDefault()?.Scope is { } scope)
                operation.Description = $"Needs a key of scope {scope}.";
            return Task.CompletedTask;
        }));

    public static void MapRunsApi(this WebApplication app)
    {
        app.Use(AccessGate.Harden);
        app.UseExceptionHandler();
        app.UseStatusCodePages();
        app.UseAccess();
        app.Use(PlainForms.Require);
        app.MapOpenApi().Requires(Scope.Viewer);
        app.MapRuns();
        app.MapArtifacts();
        app.MapWork();
        app.MapModelsApi();
        app.MapSchedulesApi();
        app.MapDatasetsApi();
        app.MapRetentionApi();
        app.MapKeysApi();
        if (app.Services.GetService<JobStorage>() is { } storage)
        {
            app.MapHangfireDashboard("/hangfire",
                new DashboardOptions { Authorization = [], DashboardTitle = "ArmoFlow schedules", IsReadOnlyFunc = _ => true }, storage)
                .Requires(Scope.Viewer);
        }
        app.MapScoreApi();
        app.MapAuditApi();
        if (app.Services.GetService<MeterProvider>() is not null) app.MapPrometheusScrapingEndpoint("/metrics").Requires(Scope.Viewer);
        app.MapGet("/health/ready", Ready).Requires(null).ExcludeFromDescription();
        app.MapGet("/health/live", () => Results.Ok(new { status = "live" })).Requires(null).ExcludeFromDescription();
    }

    private static void MapRuns(this WebApplication app)
    {
        RouteGroupBuilder runs = app.MapGroup("/api/v1/runs").WithTags("runs").Requires(Scope.Viewer);
        runs.MapPost("", Submit)
            .Requires(Scope.Operator)
            .WithSummary("Submits a run: the spec as YAML or JSON. Its paths are relative to the server's folder, or to the header "
                + "X-Spec-Folder. The same Idempotency-Key twice is one run.");
        runs.MapGet("", List).WithSummary("Lists runs, newest first.");
        runs.MapGet("{id:guid}", Show).WithSummary("One run's document.");
        runs.MapGet("{id:guid}/spec", Spec)
            .WithSummary("The spec that a run was submitted with; withoutForgotten=true leaves out what was forgotten since.");
        runs.MapGet("{id:guid}/gates",
            Gates)
            .WithSummary("What the gates say of the version that a run made, or of what an evaluation found: those of its spec and of "
                + "the model's policy. 'isJudged' is false while that is still to be found out.");
        runs.MapGet("{id:guid}/events", Events)
            .WithSummary("Server-sent events: the run's document and progress whenever they change, until the run ends.");
        runs.MapGet("{id:guid}/logs",
            async (Guid id, StepLogStore logs, CancellationToken cancel, string? step = null) =>
                (await logs.Of(id, step, cancel)).Select(l => l.ToDocument()))
            .WithSummary(
                "What workers wrote down at each attempt, oldest first: the text of work in progress, the artifact of what has ended.");
        foreach (RunAction action in Enum.GetValues<RunAction>())
        {
            runs.MapPost($"{{id:guid}}/{action.Text()}", (Guid id, RunService service, CancellationToken cancel) =>
                Control(id, action, service, cancel)).Requires(Scope.Operator).WithSummary(SummaryOf(action));
        }
    }

    private static void MapArtifacts(this WebApplication app)
    {
        app.MapGet("/api/v1/artifacts/{sha256}", Artifact).Requires(Scope.Viewer).WithTags("artifacts").WithSummary("An artifact's bytes.");
        app.MapGet("/api/v1/lineage/{sha256}", Trace)
            .Requires(Scope.Viewer)
            .WithTags("artifacts")
            .WithSummary("The finished steps that an artifact came from (direction=up), or that used it (down), nearest first; only "
                + "those of a run, if one is named.");
        app.MapGet("/api/v1/lineage/conversations/{id}",
            (string id, ForgettingStore store, CancellationToken cancel) => store.Users(ExclusionKind.Conversation, id, cancel))
            .Requires(Scope.Viewer)
            .WithTags("artifacts")
            .WithSummary("The versions of models that were made with a conversation.");
    }

    /// <summary>Workers, and messages that were set aside.</summary>
    private static void MapWork(this WebApplication app)
    {
        app.MapGet("/api/v1/workers",
            async (WorkStore work, CancellationToken cancel) => (await work.Workers(cancel)).Select(w => w.ToDocument()))
            .Requires(Scope.Viewer)
            .WithTags("workers")
            .WithSummary("The workers whose heartbeat is heard.");
        RouteGroupBuilder faults = app.MapGroup("/api/v1/faults").WithTags("faults").Requires(Scope.Viewer);
        faults.MapGet("", (FaultStore store, CancellationToken cancel) => store.Groups(cancel))
            .WithSummary("Messages that were set aside, alike ones grouped.");
        faults.MapGet("{which}",
            async (string which, FaultStore store, CancellationToken cancel) =>
                (await store.Find(which, cancel)).Select(f => f.ToDocument()))
            .WithSummary("The faults of a group, or one by its number.");
        foreach (FaultDecision decision in Enum.GetValues<FaultDecision>())
        {
            faults.MapPost($"{{which}}/{decision.Text()}",
                (string which, FaultStore store, OutboxSignal signal, CancellationToken cancel) =>
                    Decide(which, decision, store, signal, cancel))
                .Requires(Scope.Operator)
                .WithSummary($"{decision}s the open faults of a group, one by its number, or 'all'.");
        }
    }

    /// <summary>What a spec's paths are relative to.</summary>
    public static string SpecFolder(HttpRequest request) =>
        request.Headers.TryGetValue(ApiHeaders.SpecFolder, out Microsoft.Extensions.Primitives.StringValues given)
            ? given.ToString()
            : Directory.GetCurrentDirectory();

    private static async Task<Results<Accepted<RunAccepted>, ProblemHttpResult>> Submit(HttpRequest request, RunService service,
        CancellationToken cancel)
    {
        using StreamReader reader = new(request.Body);
        string text = await reader.ReadToEndAsync(cancel);
        string folder = SpecFolder(request);
        RunSpec spec = DataRoots.Require(SpecReader.Parse(text, "spec", folder));
        try
        {
            Guid id = request.Headers.TryGetValue(ApiHeaders.IdempotencyKey, out Microsoft.Extensions.Primitives.StringValues key)
                ? await service.Submit(spec, key.ToString(), cancel)
                : await service.Submit(spec, cancel);
            return TypedResults.Accepted($"/api/v1/runs/{id}", new RunAccepted(id));
        }
        catch (RefusedException e) when (e.Refusal == Refusal.Missing)
        {
            // what it names is missing, not what the address names
            return TypedResults.Problem(e.Message, title: "The spec is not usable.", statusCode: StatusCodes.Status400BadRequest);
        }
    }

    private static string SummaryOf(RunAction action)
    {
        string what = action == RunAction.Retry ? "Retries the run from the step that failed."
            : $"{action}s the run.";
        return $"{what} 202 with 'pending' where it was asked for and has not come about in half a minute.";
    }

    private static Task<RunPage> List(RunQueries service, CancellationToken cancel, string? status = null, string? name = null,
        string? tag = null, DateTimeOffset? from = null, DateTimeOffset? to = null, string? q = null, string? where = null,
        string? cursor = null, int limit = 50) =>
        service.List(new RunFilter
        {
            Status = RunQueries.StatusOf(status),
            Name = name,
            Tag = tag,
            From = from,
            To = to,
            Q = q,
            Where = where,
            Cursor = cursor,
            Limit = limit
        }, cancel);

    private static async Task<Results<Ok<RunDocument>, ProblemHttpResult>> Show(Guid id, RunQueries service, CancellationToken cancel) =>
        await service.Find(id, cancel) is { } run ? TypedResults.Ok(run) : Unknown(id);

    private static async Task<Results<Ok<RunSpec>, ProblemHttpResult>> Spec(Guid id, RunQueries service, ForgettingStore forgetting,
        CancellationToken cancel, bool withoutForgotten = false)
    {
        if (await service.FindSpec(id, cancel) is not { } spec) return Unknown(id);
        return TypedResults.Ok(withoutForgotten ? await forgetting.Apply(spec, cancel) : spec);
    }

    private static async Task<Results<Ok<RunDocument>, Accepted<RunDocument>,
        ProblemHttpResult>> Control(Guid id, RunAction action, RunService service, CancellationToken cancel)
    {
        if (await service.Control(id, action, cancel) is not { } run) return Unknown(id);
        if (run.Pending is not null) return TypedResults.Accepted($"/api/v1/runs/{id}", run);
        return TypedResults.Ok(run);
    }

    private static async Task<Results<Ok<RunGates>, ProblemHttpResult>> Gates(Guid id, RunVerdicts verdicts, CancellationToken cancel) =>
        await verdicts.Of(id, cancel) is { } gates ? TypedResults.Ok(gates) : Unknown(id);

    private static async Task<Results<ServerSentEventsResult<RunEvent>, ProblemHttpResult>> Events(Guid id, RunQueries service,
        RunWatch watch, CancellationToken cancel) =>
        await service.Find(id, cancel) is null ? Unknown(id) : TypedResults.ServerSentEvents(watch.Changes(id, cancel), "run");

    private static async Task<Results<PhysicalFileHttpResult,
        ProblemHttpResult>> Artifact(string sha256, ArtifactStore artifacts, TombstoneStore tombstones, CancellationToken cancel)
    {
        if (!Sha256.IsOne(sha256))
        {
            return TypedResults.Problem($"'{sha256}' is not a sha256 of 64 lower-case hex digits", title: "Not found.",
                statusCode: StatusCodes.Status404NotFound);
        }
        try { return TypedResults.PhysicalFile(await artifacts.Open(sha256, cancel), "application/octet-stream"); }
        catch (ArtifactLostException e)
        {
            return TypedResults.Problem(await tombstones.Explain(e, cancel), title: "Not found.",
            statusCode: StatusCodes.Status404NotFound);
        }
    }

    private static async Task<Results<Ok<IReadOnlyList<LineageStep>>, ProblemHttpResult>> Trace(string sha256, Lineage lineage,
        CancellationToken cancel, string direction = "up", Guid? run = null)
    {
        if (!Sha256.IsOne(sha256))
        {
            return TypedResults.Problem($"'{sha256}' is not a sha256 of 64 lower-case hex digits", title: "Not found.",
                statusCode: StatusCodes.Status404NotFound);
        }
        return EnumText.Find<LineageDirection>(direction) is { } way ? TypedResults.Ok(await lineage.Trace(sha256, way, run, cancel))
            : TypedResults.Problem($"direction '{direction}'; expected up or down", title: "Bad request.",
                statusCode: StatusCodes.Status400BadRequest);
    }

    private static async Task<FaultsDecided> Decide(string which, FaultDecision decision, FaultStore faults, OutboxSignal signal,
        CancellationToken cancel)
    {
        int count = await faults.Decide(which, decision, cancel);
        signal.Raise();
        return new FaultsDecided(count);
    }

    private static async Task<IResult> Ready(DatabaseSchema database, IBusControl bus, StoreProbe store, CancellationToken cancel)
    {
        bool isReachable = await database.CanConnect(cancel);
        BusHealthStatus health = bus.CheckHealth().Status;
        string? wrong = await store.WhyNot(cancel);
        bool ready = isReachable && health == BusHealthStatus.Healthy && wrong is null;
        var found = new
        {
            status = ready ? "ready" : "not ready",
            books = isReachable,
            bus = health.ToString(),
            store = wrong ?? "can be written",
        };
        return Results.Json(found, statusCode: ready ? StatusCodes.Status200OK : StatusCodes.Status503ServiceUnavailable);
    }

    private static ProblemHttpResult Unknown(Guid id) =>
        TypedResults.Problem($"no run {id}", title: "Not found.", statusCode: StatusCodes.Status404NotFound);
}
