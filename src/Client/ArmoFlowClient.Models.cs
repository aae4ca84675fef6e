using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Client;

/// <content>The model registry, scores, and evidence.</content>
public sealed partial class ArmoFlowClient
{
    /// <inheritdoc/>
    public Task<IReadOnlyList<ModelSummary>> ListModels(CancellationToken cancel) =>
        Get<IReadOnlyList<ModelSummary>>("api/v1/models", cancel);

    /// <inheritdoc/>
    public Task<ModelVersionDocument> FindVersion(string reference, CancellationToken cancel) =>
        Get<ModelVersionDocument>(ApiAddress.Of($"api/v1/models/version", ("reference", reference)), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel) =>
        Get<IReadOnlyList<VersionDocument>>(ApiAddress.Of($"api/v1/models/{model}/versions"), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<AliasPeriodDocument>> AliasHistory(string model, CancellationToken cancel) =>
        Get<IReadOnlyList<AliasPeriodDocument>>(ApiAddress.Of($"api/v1/models/{model}/history"), cancel);

    /// <inheritdoc/>
    public Task<AliasPeriodDocument?> AliasAt(string model, string alias, DateTimeOffset? at, DateTimeOffset? known,
        CancellationToken cancel) =>
        GetOrNull<AliasPeriodDocument>(
            ApiAddress.Of($"api/v1/models/{model}/aliases/{alias}", ("at", at), ("known", known)), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<ModelEvaluationDocument>> Evaluations(string model, int limit, CancellationToken cancel) =>
        Get<IReadOnlyList<ModelEvaluationDocument>>(ApiAddress.Of($"api/v1/models/{model}/evaluations", ("limit", limit)), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<ModelAlertDocument>> Alerts(string model, int limit, CancellationToken cancel) =>
        Get<IReadOnlyList<ModelAlertDocument>>(ApiAddress.Of($"api/v1/models/{model}/alerts", ("limit", limit)), cancel);

    /// <inheritdoc/>
    public Task<Promotion> Promote(string model, string alias, AliasRequest request, CancellationToken cancel) =>
        Send<Promotion>(HttpMethod.Put, ApiAddress.Of($"api/v1/models/{model}/aliases/{alias}"), request, cancel);

    /// <inheritdoc/>
    public Task<AliasPeriodDocument> RollBack(string model, string alias, RollbackRequest request, CancellationToken cancel) =>
        Send<AliasPeriodDocument>(HttpMethod.Post, ApiAddress.Of($"api/v1/models/{model}/aliases/{alias}/rollback"), request, cancel);

    /// <inheritdoc/>
    public Task<ModelVersionDocument> Describe(string model, int version, DescribeRequest request, CancellationToken cancel) =>
        Send<ModelVersionDocument>(HttpMethod.Patch, ApiAddress.Of($"api/v1/models/{model}/versions/{version}"), request, cancel);

    /// <inheritdoc/>
    public Task<PlacedBackbone> PlaceBackbone(string model, BackboneRequest request, CancellationToken cancel) =>
        Send<PlacedBackbone>(HttpMethod.Put, ApiAddress.Of($"api/v1/models/{model}/backbone"), request, cancel);

    /// <inheritdoc/>
    public async Task<string?> BackboneOf(string digest, CancellationToken cancel) =>
        (await GetOrNull<BackbonePlace>(ApiAddress.Of($"api/v1/backbones/{digest}"), cancel))?.Path;

    /// <inheritdoc/>
    public Task<ModelPolicyDocument?> ModelPolicy(string model, CancellationToken cancel) =>
        GetOrNull<ModelPolicyDocument>(ApiAddress.Of($"api/v1/models/{model}/policy"), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<ModelPolicyDocument>> ModelPolicyHistory(string model, CancellationToken cancel) =>
        Get<IReadOnlyList<ModelPolicyDocument>>(ApiAddress.Of($"api/v1/models/{model}/policy/history"), cancel);

    /// <inheritdoc/>
    public Task<ModelPolicyDocument> SetModelPolicy(string model, PolicySpec policy, string reason, CancellationToken cancel) =>
        Send<ModelPolicyDocument>(HttpMethod.Put, ApiAddress.Of($"api/v1/models/{model}/policy", ("reason", reason)), policy, cancel);

    /// <inheritdoc/>
    public Task<ModelPolicyDocument> RemoveModelPolicy(string model, string reason, CancellationToken cancel) =>
        Send<ModelPolicyDocument>(HttpMethod.Delete, ApiAddress.Of($"api/v1/models/{model}/policy", ("reason", reason)), null, cancel);

    /// <inheritdoc/>
    public Task<ScoreAnswer> Score(ScoreRequest request, CancellationToken cancel) =>
        Send<ScoreAnswer>(HttpMethod.Post, "api/v1/score", request, cancel);

    /// <inheritdoc/>
    public Task WriteEvidence(EvidenceRequest request, Stream to, CancellationToken cancel) =>
        Copy(HttpMethod.Post, "api/v1/models/evidence", request, to, cancel);
}
