using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Retention;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence.Retention;
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
            (CollectRequest request, Collector collector, CancellationToken cancel) =>
                collector.Collect(request.ToRules(), request.DryRun, cancel))
            .WithSummary("Removes artifacts that nothing kept refers to; by default it only says what would go, and why.");
        retention.MapGet("gc/policy", (RetentionPolicyService service, CancellationToken cancel) => service.Get(cancel))
            .WithSummary("When servers collect, by which rules, and what became of the last collection.");
        retention.MapPut("gc/policy",
            (RetentionPolicyRequest request, RetentionPolicyService service, CancellationToken cancel) =>
                service.Put(request.ToRules(), request.Cron ?? "", request.TimeZone ?? "", cancel))
            .WithSummary("Has servers collect by the clock.");
        retention.MapDelete("gc/policy", (RetentionPolicyService service, CancellationToken cancel) => service.Remove(cancel))
            .WithSummary("Collects by the clock no more.");
        retention.MapGet("holds",
            async (HoldStore store, CancellationToken cancel) => (await store.List(cancel)).Select(h => h.ToDocument()))
            .WithSummary("Legal holds.");
        retention.MapPost("holds",
            async (HoldRequest request, HoldStore store, CancellationToken cancel) =>
                (await store.Hold(request.Subject ?? "", request.Reason ?? "", cancel)).ToDocument())
            .WithSummary("Keeps a run's artifacts, or those of all versions of a model, whatever the rules say.");
        retention.MapDelete("holds", (string subject, HoldStore store, CancellationToken cancel) => store.Release(subject, cancel))
            .WithSummary("Ends a legal hold.");
        retention.MapGet("exclusions",
            async (ForgettingStore store, CancellationToken cancel, bool lifted = false) =>
                (await store.List(cancel, lifted)).Select(e => e.ToDocument()))
            .WithSummary(
                "Conversations, sources and files that no run reads any more; with those that were lifted, if they are asked for.");
        retention.MapPost("exclusions/plan",
            (ForgetTarget target, Redaction redaction, CancellationToken cancel) =>
                redaction.Plan(ForgettingStore.KindOf(target.Kind ?? ""), target.Value ?? "", cancel))
            .WithSummary("What forgetting something would rewrite and remove, what would stay and why, and what stands against it; "
                + "nothing is done.");
        retention.MapPost("exclusions",
            (ForgetRequest request, ForgetService service, CancellationToken cancel) => service.Forget(
                ForgettingStore.KindOf(request.Kind ?? ""), request.Value ?? "", request.Reason ?? "", request.Retrain, cancel))
            .WithSummary("Forgets a conversation, a source or a file: takes it out of what is kept, lists every version that was made "
                + "with it and, if asked, has their models made anew.");
        retention.MapPost("exclusions/undo",
            async (ForgetRequest request, ForgettingStore store, CancellationToken cancel) =>
                (await store.Lift(ForgettingStore.KindOf(request.Kind ?? ""), request.Value ?? "", request.Reason ?? "", cancel))
                    .ToDocument())
            .WithSummary("Lets runs read again what was forgotten, where it still is; text that was removed does not come back.");
    }
}
