using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Retention;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence.Retention;

namespace ArmoFlow.Orchestrator.Clients;

/// <content>What is kept, what goes, and what is to be forgotten.</content>
public partial class RecordsClient
{
    public Task<Collection> Collect(CollectRequest request, CancellationToken cancel) =>
        Get<Collector>().Collect(request.ToRules(), request.DryRun, cancel);

    public Task<RetentionPolicyDocument> RetentionPolicy(CancellationToken cancel) => Get<RetentionPolicyService>().Get(cancel);

    public Task<RetentionPolicyDocument> SetRetentionPolicy(RetentionPolicyRequest request, CancellationToken cancel) =>
        Get<RetentionPolicyService>().Put(request.ToRules(), request.Cron ?? "", request.TimeZone ?? "", cancel);

    public Task RemoveRetentionPolicy(CancellationToken cancel) => Get<RetentionPolicyService>().Remove(cancel);

    public async Task<IReadOnlyList<LegalHoldDocument>> ListHolds(CancellationToken cancel) =>
        [.. (await Get<HoldStore>().List(cancel)).Select(h => h.ToDocument())];

    public async Task<LegalHoldDocument> Hold(HoldRequest request, CancellationToken cancel) =>
        (await Get<HoldStore>().Hold(request.Subject ?? "", request.Reason ?? "", cancel)).ToDocument();

    public Task ReleaseHold(string subject, CancellationToken cancel) => Get<HoldStore>().Release(subject, cancel);

    public async Task<IReadOnlyList<ExclusionDocument>> ListExclusions(bool withLifted, CancellationToken cancel) =>
        [.. (await Get<ForgettingStore>().List(cancel, withLifted)).Select(e => e.ToDocument())];

    public Task<ForgetPlan> PlanForgetting(ForgetTarget target, CancellationToken cancel) =>
        Get<Redaction>().Plan(ForgettingStore.KindOf(target.Kind ?? ""), target.Value ?? "", cancel);

    public virtual Task<Forgetting> Forget(ForgetRequest request, CancellationToken cancel) =>
        Get<ForgetService>().Forget(
            ForgettingStore.KindOf(request.Kind ?? ""), request.Value ?? "", request.Reason ?? "", request.Retrain, cancel);

    public async Task<ExclusionDocument> LiftExclusion(ForgetRequest request, CancellationToken cancel) =>
        (await Get<ForgettingStore>().Lift(
            ForgettingStore.KindOf(request.Kind ?? ""), request.Value ?? "", request.Reason ?? "", cancel)).ToDocument();
}
