using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Orchestrator.Scoring;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Models;

namespace ArmoFlow.Orchestrator.Clients;

/// <content>The model registry, scores, and evidence.</content>
public partial class RecordsClient
{
    public Task<IReadOnlyList<ModelSummary>> ListModels(CancellationToken cancel) => Get<ModelRegistry>().List(cancel);

    public async Task<ModelVersionDocument> FindVersion(string reference, CancellationToken cancel) =>
        (await Get<ModelRegistry>().Resolve(reference, cancel)).ToDocument();

    public Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel) =>
        Get<ModelService>().Versions(model, cancel);

    public async Task<IReadOnlyList<AliasPeriodDocument>> AliasHistory(string model, CancellationToken cancel) =>
        [.. (await Get<ModelRegistry>().History(model, cancel)).Select(p => p.ToDocument())];

    public async Task<AliasPeriodDocument?> AliasAt(string model, string alias, DateTimeOffset? at, DateTimeOffset? known,
        CancellationToken cancel)
    {
        ModelRegistry registry = Get<ModelRegistry>();
        AliasPeriod? period = at is null && known is null
            ? await registry.Current(model, alias, cancel)
            : await registry.At(model, alias, at ?? Get<TimeProvider>().GetUtcNow(), known, cancel);
        return period?.ToDocument();
    }

    public async Task<IReadOnlyList<ModelEvaluationDocument>> Evaluations(string model, int limit, CancellationToken cancel) =>
        [.. (await Get<AlertStore>().Evaluations(model, limit, cancel)).Select(e => e.ToDocument())];

    public async Task<IReadOnlyList<ModelAlertDocument>> Alerts(string model, int limit, CancellationToken cancel) =>
        [.. (await Get<AlertStore>().Alerts(model, limit, cancel)).Select(a => a.ToDocument())];

    public Task<Promotion> Promote(string model, string alias, AliasRequest request, CancellationToken cancel) =>
        Get<ModelService>().Promote($"{model}@{request.Version}", alias, request.Force, request.Reason, cancel);

    public async Task<AliasPeriodDocument> RollBack(string model, string alias, RollbackRequest request, CancellationToken cancel) =>
        (await Get<ModelService>().RollBack(model, alias, request.To, request.Reason, cancel)).ToDocument();

    public async Task<ModelVersionDocument> Describe(string model, int version, DescribeRequest request, CancellationToken cancel)
    {
        ModelVersion found = await Get<ModelRegistry>().Resolve($"{model}@{version}", cancel);
        return (await Get<ModelRegistry>().Describe(found, request.Notes, request.Tags, cancel)).ToDocument();
    }

    public Task<PlacedBackbone> PlaceBackbone(string model, BackboneRequest request, CancellationToken cancel) =>
        Get<ModelService>().PlaceBackbone(request.Version is { } version ? $"{model}@{version}" : model, request.Path ?? "", cancel);

    public Task<string?> BackboneOf(string digest, CancellationToken cancel) => Get<BackboneStore>().Find(digest, cancel);

    public async Task<ModelPolicyDocument?> ModelPolicy(string model, CancellationToken cancel) =>
        (await Get<PolicyStore>().Current(model, cancel))?.ToDocument();

    public async Task<IReadOnlyList<ModelPolicyDocument>> ModelPolicyHistory(string model, CancellationToken cancel) =>
        [.. (await Get<PolicyStore>().History(model, cancel)).Select(p => p.ToDocument())];

    public async Task<ModelPolicyDocument> SetModelPolicy(string model, PolicySpec policy, string reason, CancellationToken cancel) =>
        (await Get<PolicyStore>().Set(model, policy, reason, cancel)).ToDocument();

    public async Task<ModelPolicyDocument> RemoveModelPolicy(string model, string reason, CancellationToken cancel) =>
        (await Get<PolicyStore>().Remove(model, reason, cancel)).ToDocument();

    public virtual Task<ScoreAnswer> Score(ScoreRequest request, CancellationToken cancel) => Get<ScoreRequests>().Answer(request, cancel);

    public async Task WriteEvidence(EvidenceRequest request, Stream to, CancellationToken cancel)
    {
        ModelVersion version = await Get<ModelRegistry>().Resolve(request.Model, cancel);
        object? score = request is { Prompt: { } prompt, Response: { } response }
            ? new
            {
                model = $"{version.Model}@{version.Version}",
                prompt,
                response,
                explanation = await Explain(version.RunId, prompt, response, cancel),
            }
            : null;
        await Get<EvidencePack>().Pack(version, score, to, cancel);
    }

    /// <summary>The score that an archive of evidence holds.</summary>
    protected virtual async Task<object> Explain(Guid run, string prompt, string response, CancellationToken cancel)
    {
        ScoreItem asked = new([new ChatTurn("user", prompt), new ChatTurn("assistant", response)]);
        return (await Get<ScoreService>().Score(null, run, [asked], [], cancel)).Scores[0];
    }
}
