using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Client;

/// <content>What is kept, what goes, and what is to be forgotten.</content>
public sealed partial class ArmoFlowClient
{
    /// <inheritdoc/>
    public Task<Collection> Collect(CollectRequest request, CancellationToken cancel) =>
        Send<Collection>(HttpMethod.Post, "api/v1/gc", request, cancel);

    /// <inheritdoc/>
    public Task<RetentionPolicyDocument> RetentionPolicy(CancellationToken cancel) =>
        Get<RetentionPolicyDocument>("api/v1/gc/policy", cancel);

    /// <inheritdoc/>
    public Task<RetentionPolicyDocument> SetRetentionPolicy(RetentionPolicyRequest request, CancellationToken cancel) =>
        Send<RetentionPolicyDocument>(HttpMethod.Put, "api/v1/gc/policy", request, cancel);

    /// <inheritdoc/>
    public Task RemoveRetentionPolicy(CancellationToken cancel) => Do(HttpMethod.Delete, "api/v1/gc/policy", cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<LegalHoldDocument>> ListHolds(CancellationToken cancel) =>
        Get<IReadOnlyList<LegalHoldDocument>>("api/v1/holds", cancel);

    /// <inheritdoc/>
    public Task<LegalHoldDocument> Hold(HoldRequest request, CancellationToken cancel) =>
        Send<LegalHoldDocument>(HttpMethod.Post, "api/v1/holds", request, cancel);

    /// <inheritdoc/>
    public Task ReleaseHold(string subject, CancellationToken cancel) =>
        Do(HttpMethod.Delete, ApiAddress.Of($"api/v1/holds", ("subject", subject)), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<ExclusionDocument>> ListExclusions(bool withLifted, CancellationToken cancel) =>
        Get<IReadOnlyList<ExclusionDocument>>(ApiAddress.Of($"api/v1/exclusions", ("lifted", withLifted)), cancel);

    /// <inheritdoc/>
    public Task<ForgetPlan> PlanForgetting(ForgetTarget target, CancellationToken cancel) =>
        Send<ForgetPlan>(HttpMethod.Post, "api/v1/exclusions/plan", target, cancel);

    /// <inheritdoc/>
    public Task<Forgetting> Forget(ForgetRequest request, CancellationToken cancel) =>
        Send<Forgetting>(HttpMethod.Post, "api/v1/exclusions", request, cancel);

    /// <inheritdoc/>
    public Task<ExclusionDocument> LiftExclusion(ForgetRequest request, CancellationToken cancel) =>
        Send<ExclusionDocument>(HttpMethod.Post, "api/v1/exclusions/undo", request, cancel);
}
