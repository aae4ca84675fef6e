using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Retention;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Retention;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace ArmoFlow.Orchestrator.Api;

public sealed record HoldRequest
{
    /// <summary>run/ID or model/NAME.</summary>
    public required string Subject { get; init; }
    public required string Reason { get; init; }
}

/// <summary>What a collection keeps besides what must be.</summary>
public abstract record RulesRequest
{
    /// <summary>Runs that ended since are kept.</summary>
    public double OlderThanDays { get; init; } = 90;

    /// <summary>So many newest versions of each model are kept.</summary>
    public int KeepLast { get; init; } = 5;

    /// <exception cref="RetentionException">The figures are none.</exception>
    public RetentionRules ToRules() =>
        OlderThanDays is >= 0 and <= 36500 && KeepLast >= 0 ? new RetentionRules(TimeSpan.FromDays(OlderThanDays), KeepLast)
            : throw new RetentionException(
                $"older than {OlderThanDays} days, keep last {KeepLast}: expected days from 0 to 36500, and a count of at least 0.");
}

public sealed record CollectRequest : RulesRequest
{
    /// <summary>Only say what would go.</summary>
    public bool DryRun { get; init; } = true;
}

/// <summary>When servers collect, and by which rules.</summary>
public sealed record RetentionPolicyRequest : RulesRequest
{
    /// <summary>Five fields, or six with seconds first.</summary>
    public required string Cron { get; init; }

    /// <summary>IANA name.</summary>
    public string TimeZone { get; init; } = "UTC";
}

/// <summary>What is to be forgotten.</summary>
public record ForgetTarget
{
    /// <summary>conversation, source or file.</summary>
    public required string Kind { get; init; }

    /// <summary>A conversation's id, a source's name, or a file's sha256.</summary>
    public required string Value { get; init; }
}

public sealed record ForgetRequest : ForgetTarget
{
    public required string Reason { get; init; }

    /// <summary>Have the models that used it made anew.</summary>
    public bool Retrain { get; init; }
}

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
        retention.MapGet("holds", (HoldStore store, CancellationToken cancel) => store.List(cancel)).WithSummary("Legal holds.");
        retention.MapPost("holds",
            (HoldRequest request, HoldStore store, CancellationToken cancel) =>
                store.Hold(request.Subject ?? "", request.Reason ?? "", cancel))
            .WithSummary("Keeps a run's artifacts, or those of all versions of a model, whatever the rules say.");
        retention.MapDelete("holds", (string subject, HoldStore store, CancellationToken cancel) => store.Release(subject, cancel))
            .WithSummary("Ends a legal hold.");
        retention.MapGet("exclusions", (ForgettingStore store, CancellationToken cancel, bool lifted = false) =>
            store.List(cancel, lifted))
            .WithSummary(
                "Conversations, sources and files that no run reads any more; with those that were lifted, if they are asked for.");
        retention.MapPost("exclusions/plan", (ForgetTarget target, Redaction redaction, CancellationToken cancel) =>
            redaction.Plan(ForgettingStore.KindOf(target.Kind ?? ""), target.Value ?? "", cancel))
            .WithSummary("What forgetting something would rewrite and remove, what would stay and why, and what stands against it; "
                + "nothing is done.");
        retention.MapPost("exclusions", (ForgetRequest request, ForgetService service, CancellationToken cancel) =>
            service.Forget(ForgettingStore.KindOf(request.Kind ?? ""), request.Value ?? "", request.Reason ?? "", request.Retrain, cancel))
            .WithSummary("Forgets a conversation, a source or a file: takes it out of what is kept, lists every version that was made "
                + "with it and, if asked, has their models made anew.");
        retention.MapPost("exclusions/undo", (ForgetRequest request, ForgettingStore store, CancellationToken cancel) =>
            store.Lift(ForgettingStore.KindOf(request.Kind ?? ""), request.Value ?? "", request.Reason ?? "", cancel))
            .WithSummary("Lets runs read again what was forgotten, where it still is; text that was removed does not come back.");
    }
}
