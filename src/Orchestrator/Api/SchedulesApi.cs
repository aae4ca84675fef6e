using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Clients;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence.Schedules;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>The HTTP calls for schedules.</summary>
internal static class SchedulesApi
{
    public static void MapSchedulesApi(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder schedules = app.MapGroup("/api/v1/schedules").WithTags("schedules").Requires(Scope.Viewer);
        schedules.MapGet("", (RecordsClient records, CancellationToken cancel) => records.ListSchedules(cancel))
            .WithSummary("Schedules, with their next five firings.");
        schedules.MapGet("{name}/history",
            (string name, RecordsClient records, CancellationToken cancel, int limit = 100) => records.Firings(name, limit, cancel))
            .WithSummary("A schedule's firings, newest first.");
        schedules.MapPost("",
            (ScheduleRequest request, HttpRequest http, ScheduleService service, CancellationToken cancel) =>
                service.Put(request.ToSchedule(
                    DataRoots.Require(SpecReader.Parse(request.Spec ?? "", "spec", RunsApi.SpecFolder(http)))), cancel))
            .Requires(Scope.Operator)
            .WithSummary("Adds a schedule, or puts it in place of the one of its name.");
        schedules.MapDelete("{name}",
            (string name, RecordsClient records, CancellationToken cancel) => records.RemoveSchedule(name, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Removes a schedule; its history stays.");
        schedules.MapPost("{name}/pause",
            (string name, RecordsClient records, CancellationToken cancel) => records.PauseSchedule(name, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Pauses a schedule.");
        schedules.MapPost("{name}/resume",
            (string name, RecordsClient records, CancellationToken cancel) => records.ResumeSchedule(name, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Goes on with a schedule from now; what was due in between is not made up for.");
        schedules.MapPost("{name}/run-now",
            (string name, RecordsClient records, CancellationToken cancel) => records.RunNow(name, cancel))
            .Requires(Scope.Operator)
            .WithSummary("Runs a schedule's spec now.");
    }
}
