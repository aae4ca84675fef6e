using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Clients;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

/// <summary>The HTTP calls for what is kept, what goes, and what is to be forgotten.</summary>
internal static class RetentionApi
{
    public static void MapRetentionApi(this IEndpointRouteBuilder app)
    {
        RouteGroupBuilder retention = app.MapGroup("/api/v1").WithTags("retention").Requires(Scope.Admin);
        retention.MapPost("gc",
            (CollectRequest request, RecordsClient records, CancellationToken cancel) => records.Collect(request, cancel))
            .WithSummary("Removes artifacts that nothing kept refers to; by default it only says what would go, and why.");
        retention.MapGet("gc/policy", (RecordsClient records, CancellationToken cancel) => records.RetentionPolicy(cancel))
            .WithSummary("When servers collect, by which rules, and what became of the last collection.");
        retention.MapPut("gc/policy",
            (RetentionPolicyRequest request, RecordsClient records, CancellationToken cancel) =>
                records.SetRetentionPolicy(request, cancel))
            .WithSummary("Has servers collect by the clock.");
        retention.MapDelete("gc/policy", (RecordsClient records, CancellationToken cancel) => records.RemoveRetentionPolicy(cancel))
            .WithSummary("Collects by the clock no more.");
        retention.MapGet("holds", (RecordsClient records, CancellationToken cancel) => records.ListHolds(cancel))
            .WithSummary("Legal holds.");
        retention.MapPost("holds",
            (HoldRequest request, RecordsClient records, CancellationToken cancel) => records.Hold(request, cancel))
            .WithSummary("Keeps a run's artifacts, or those of all versions of a model, whatever the rules say.");
        retention.MapDelete("holds",
            (string subject, RecordsClient records, CancellationToken cancel) => records.ReleaseHold(subject, cancel))
            .WithSummary("Ends a legal hold.");
        retention.MapGet("exclusions",
            (RecordsClient records, CancellationToken cancel, bool lifted = false) => records.ListExclusions(lifted, cancel))
            .WithSummary(
                "Conversations, sources and files that no run reads any more; with those that were lifted, if they are asked for.");
        retention.MapPost("exclusions/plan",
            (ForgetTarget target, RecordsClient records, CancellationToken cancel) => records.PlanForgetting(target, cancel))
            .WithSummary("What forgetting something would rewrite and remove, what would stay and why, and what stands against it; "
                + "nothing is done.");
        retention.MapPost("exclusions",
            (ForgetRequest request, RecordsClient records, CancellationToken cancel) => records.Forget(request, cancel))
            .WithSummary("Forgets a conversation, a source or a file: takes it out of what is kept, lists every version that was made "
                + "with it and, if asked, has their models made anew.");
        retention.MapPost("exclusions/undo",
            (ForgetRequest request, RecordsClient records, CancellationToken cancel) => records.LiftExclusion(request, cancel))
            .WithSummary("Lets runs read again what was forgotten, where it still is; text that was removed does not come back.");
    }
}
