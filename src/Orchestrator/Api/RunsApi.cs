using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Clients;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Runs;
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
        runs.MapGet("{id:guid}", (Guid id, RecordsClient records, CancellationToken cancel) => records.FindRun(id, cancel))
            .WithSummary("One run's document.");
        runs.MapGet("{id:guid}/spec",
            (Guid id, RecordsClient records, CancellationToken cancel, bool withoutForgotten = false) =>
                records.FindSpec(id, withoutForgotten, cancel))
            .WithSummary("The spec that a run was submitted with; withoutForgotten=true leaves out what was forgotten since.");
        runs.MapGet("{id:guid}/gates", (Guid id, RecordsClient records, CancellationToken cancel) => records.Gates(id, cancel))
            .WithSummary("What the gates say of the version that a run made, or of what an evaluation found: those of its spec and of "
                + "the model's policy. 'isJudged' is false while that is still to be found out.");
        runs.MapGet("{id:guid}/events", Events)
            .WithSummary("Server-sent events: the run's document and progress whenever they change, until the run ends.");
        runs.MapGet("{id:guid}/logs",
            (Guid id, RecordsClient records, CancellationToken cancel, string? step = null) => records.Logs(id, step, cancel))
            .WithSummary(
                "What workers wrote down at each attempt, oldest first: the text of work in progress, the artifact of what has ended.");
        foreach (RunAction action in Enum.GetValues<RunAction>())
        {
            runs.MapPost($"{{id:guid}}/{action.Text()}", (Guid id, RecordsClient records, CancellationToken cancel) =>
                Control(id, action, records, cancel)).Requires(Scope.Operator).WithSummary(SummaryOf(action));
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
            (string id, RecordsClient records, CancellationToken cancel) => records.UsersOf(id, cancel))
            .Requires(Scope.Viewer)
            .WithTags("artifacts")
            .WithSummary("The versions of models that were made with a conversation.");
    }

    /// <summary>Workers, and messages that were set aside.</summary>
    private static void MapWork(this WebApplication app)
    {
        app.MapGet("/api/v1/workers", (RecordsClient records, CancellationToken cancel) => records.Workers(cancel))
            .Requires(Scope.Viewer)
            .WithTags("workers")
            .WithSummary("The workers whose heartbeat is heard.");
        RouteGroupBuilder faults = app.MapGroup("/api/v1/faults").WithTags("faults").Requires(Scope.Viewer);
        faults.MapGet("", (RecordsClient records, CancellationToken cancel) => records.FaultGroups(cancel))
            .WithSummary("Messages that were set aside, alike ones grouped.");
        faults.MapGet("{which}", (string which, RecordsClient records, CancellationToken cancel) => records.Faults(which, cancel))
            .WithSummary("The faults of a group, or one by its number.");
        foreach (FaultDecision decision in Enum.GetValues<FaultDecision>())
        {
            faults.MapPost($"{{which}}/{decision.Text()}",
                async (string which, RecordsClient records, CancellationToken cancel) =>
                    new FaultsDecided(await records.Decide(which, decision, cancel)))
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

    private static Task<RunPage> List(RecordsClient records, CancellationToken cancel, string? status = null, string? name = null,
        string? tag = null, DateTimeOffset? from = null, DateTimeOffset? to = null, string? q = null, string? where = null,
        string? cursor = null, int limit = 50) =>
        records.ListRuns(new RunFilter
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

    private static async Task<Results<Ok<RunDocument>, Accepted<RunDocument>>> Control(
        Guid id, RunAction action, RecordsClient records, CancellationToken cancel)
    {
        RunDocument run = await records.Control(id, action, cancel);
        if (run.Pending is not null) return TypedResults.Accepted($"/api/v1/runs/{id}", run);
        return TypedResults.Ok(run);
    }

    private static async Task<ServerSentEventsResult<RunEvent>> Events(Guid id, RecordsClient records, CancellationToken cancel)
    {
        await records.FindRun(id, cancel); // a run that is not there is refused before the stream begins
        return TypedResults.ServerSentEvents(records.Watch(id, cancel), "run");
    }

    private static async Task<Results<PhysicalFileHttpResult, ProblemHttpResult>> Artifact(
        string sha256, RecordsClient records, CancellationToken cancel)
    {
        if (!Sha256.IsOne(sha256)) return NotASha256(sha256);
        return TypedResults.PhysicalFile(await records.OpenArtifact(sha256, cancel), "application/octet-stream");
    }

    private static ProblemHttpResult NotASha256(string given) =>
        TypedResults.Problem($"'{given}' is not a sha256 of 64 lower-case hex digits", title: "Not found.",
            statusCode: StatusCodes.Status404NotFound);

    private static async Task<Results<Ok<IReadOnlyList<LineageStep>>, ProblemHttpResult>> Trace(string sha256, RecordsClient records,
        CancellationToken cancel, string direction = "up", Guid? run = null)
    {
        if (!Sha256.IsOne(sha256)) return NotASha256(sha256);
        return EnumText.Find<LineageDirection>(direction) is { } way ? TypedResults.Ok(await records.Trace(sha256, way, run, cancel))
            : TypedResults.Problem($"direction '{direction}'; expected up or down", title: "Bad request.",
                statusCode: StatusCodes.Status400BadRequest);
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
}
