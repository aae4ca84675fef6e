using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Models;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Runs;

/// <summary>The model registry, of a workspace or behind a server.</summary>
internal interface IModelClient : IAsyncDisposable
{
    private const int Shown = 20;

    Task<IReadOnlyList<ModelSummary>> List(CancellationToken cancel);
    Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel);
    Task<IReadOnlyList<AliasPeriodDocument>> History(string model, CancellationToken cancel);

    /// <summary>What an alias meant; null for nothing.</summary>
    Task<AliasPeriodDocument?> At(string model, string alias, DateTimeOffset at, DateTimeOffset? known, CancellationToken cancel);
    Task<IReadOnlyList<ModelEvaluationDocument>> Evaluations(string model, CancellationToken cancel);
    Task<IReadOnlyList<ModelAlertDocument>> Alerts(string model, CancellationToken cancel);
    Task<Promotion> Promote(string model, int version, string alias, bool force, string? reason, CancellationToken cancel);
    Task<AliasPeriodDocument> RollBack(string model, string alias, int? to, string? reason, CancellationToken cancel);

    /// <summary>Says where a version's backbone lies now.</summary>
    Task<PlacedBackbone> PlaceBackbone(string model, int? version, string path, CancellationToken cancel);

    /// <summary>The model's policy; null where it has none.</summary>
    Task<ModelPolicyDocument?> Policy(string model, CancellationToken cancel);
    Task<IReadOnlyList<ModelPolicyDocument>> PolicyHistory(string model, CancellationToken cancel);

    /// <summary>Sets the policy that a file holds.</summary>
    Task<ModelPolicyDocument> SetPolicy(string model, string file, string reason, CancellationToken cancel);
    Task<ModelPolicyDocument> RemovePolicy(string model, string reason, CancellationToken cancel);
    Task<ModelVersionDocument> Describe(string model, int version, string? notes, IReadOnlyList<string>? tags, CancellationToken cancel);

    static async Task<IModelClient> Open(string? server, string workspace) =>
        server is null ? new WorkspaceModels(await EmbeddedHost.OpenDatabase(workspace)) : new ServerModels(server);

    private sealed class WorkspaceModels(ServiceProvider services) : IModelClient
    {
        private ModelRegistry Registry => services.GetRequiredService<ModelRegistry>();
        private PolicyStore Policies => services.GetRequiredService<PolicyStore>();
        private AlertStore Books => services.GetRequiredService<AlertStore>();
        private ModelService Service => services.GetRequiredService<ModelService>();

        public Task<IReadOnlyList<ModelSummary>> List(CancellationToken cancel) => Registry.List(cancel);
        public Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel) => Service.Versions(model, cancel);
        public async Task<IReadOnlyList<AliasPeriodDocument>> History(string model, CancellationToken cancel) =>
            [.. (await Registry.History(model, cancel)).Select(p => p.ToDocument())];
        public async Task<AliasPeriodDocument?> At(string model, string alias, DateTimeOffset at, DateTimeOffset? known,
            CancellationToken cancel) => (await Registry.At(model, alias, at, known, cancel))?.ToDocument();
        public async Task<IReadOnlyList<ModelEvaluationDocument>> Evaluations(string model, CancellationToken cancel) =>
            [.. (await Books.Evaluations(model, Shown, cancel)).Select(e => e.ToDocument())];
        public async Task<IReadOnlyList<ModelAlertDocument>> Alerts(string model, CancellationToken cancel) =>
            [.. (await Books.Alerts(model, Shown, cancel)).Select(a => a.ToDocument())];
        public Task<Promotion> Promote(string model, int version, string alias, bool force, string? reason, CancellationToken cancel) =>
            Service.Promote($"{model}@{version}", alias, force, reason, cancel);
        public async Task<AliasPeriodDocument> RollBack(string model, string alias, int? to, string? reason, CancellationToken cancel) =>
            (await Service.RollBack(model, alias, to, reason, cancel)).ToDocument();
        public Task<PlacedBackbone> PlaceBackbone(string model, int? version, string path, CancellationToken cancel) =>
            Service.PlaceBackbone(version is { } number ? $"{model}@{number}" : model, path, cancel);
        public async Task<ModelPolicyDocument?> Policy(string model, CancellationToken cancel) =>
            (await Policies.Current(model, cancel))?.ToDocument();
        public async Task<IReadOnlyList<ModelPolicyDocument>> PolicyHistory(string model, CancellationToken cancel) =>
            [.. (await Policies.History(model, cancel)).Select(p => p.ToDocument())];
        public async Task<ModelPolicyDocument> SetPolicy(string model, string file, string reason, CancellationToken cancel)
        {
            PolicySpec policy = SpecReader.ParsePolicy(await File.ReadAllTextAsync(file, cancel), Path.GetFileName(file));
            return (await Policies.Set(model, policy, reason, cancel)).ToDocument();
        }

        public async Task<ModelPolicyDocument> RemovePolicy(string model, string reason, CancellationToken cancel) =>
            (await Policies.Remove(model, reason, cancel)).ToDocument();
        public async Task<ModelVersionDocument> Describe(string model, int version, string? notes, IReadOnlyList<string>? tags,
            CancellationToken cancel) =>
            (await Registry.Describe(await Registry.Resolve($"{model}@{version}", cancel), notes, tags, cancel)).ToDocument();
        public ValueTask DisposeAsync() => services.DisposeAsync();
    }

    private sealed class ServerModels(string server) : IModelClient
    {
        private readonly ServerClient _client = new(server);


        public Task<IReadOnlyList<ModelSummary>> List(CancellationToken cancel) =>
            _client.Get<IReadOnlyList<ModelSummary>>("api/v1/models", cancel);
        public Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<VersionDocument>>(ApiAddress.Of($"api/v1/models/{model}/versions"), cancel);
        public Task<IReadOnlyList<AliasPeriodDocument>> History(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<AliasPeriodDocument>>(ApiAddress.Of($"api/v1/models/{model}/history"), cancel);

        public Task<IReadOnlyList<ModelEvaluationDocument>> Evaluations(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<ModelEvaluationDocument>>(
                ApiAddress.Of($"api/v1/models/{model}/evaluations", ("limit", Shown)), cancel);
        public Task<IReadOnlyList<ModelAlertDocument>> Alerts(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<ModelAlertDocument>>(ApiAddress.Of($"api/v1/models/{model}/alerts", ("limit", Shown)), cancel);

        public async Task<AliasPeriodDocument?> At(string model, string alias, DateTimeOffset at, DateTimeOffset? known,
            CancellationToken cancel)
        {
            try
            {
                return await _client.Get<AliasPeriodDocument>(
                    ApiAddress.Of($"api/v1/models/{model}/aliases/{alias}", ("at", at), ("known", known)), cancel);
            }
            catch (UsageException e) when (e.Message.EndsWith("meant nothing then", StringComparison.Ordinal)) { return null; }
        }

        public Task<Promotion> Promote(string model, int version, string alias, bool force, string? reason, CancellationToken cancel) =>
            _client.Send<Promotion>(HttpMethod.Put, ApiAddress.Of($"api/v1/models/{model}/aliases/{alias}"),
                new AliasRequest(version, force, reason), cancel);

        public Task<AliasPeriodDocument> RollBack(string model, string alias, int? to, string? reason, CancellationToken cancel) =>
            _client.Send<AliasPeriodDocument>(HttpMethod.Post, ApiAddress.Of($"api/v1/models/{model}/aliases/{alias}/rollback"),
                new RollbackRequest(reason, to), cancel);

        public Task<PlacedBackbone> PlaceBackbone(string model, int? version, string path, CancellationToken cancel) =>
            _client.Send<PlacedBackbone>(HttpMethod.Put, ApiAddress.Of($"api/v1/models/{model}/backbone"),
                new BackboneRequest(path, version), cancel);

        public async Task<ModelPolicyDocument?> Policy(string model, CancellationToken cancel) =>
            await PolicyHistory(model, cancel) is [{ Policy: not null } newest, ..] ? newest : null;
        public Task<IReadOnlyList<ModelPolicyDocument>> PolicyHistory(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<ModelPolicyDocument>>(ApiAddress.Of($"api/v1/models/{model}/policy/history"), cancel);

        public async Task<ModelPolicyDocument> SetPolicy(string model, string file, string reason, CancellationToken cancel)
        {
            // its errors name the file's lines
            PolicySpec policy = SpecReader.ParsePolicy(await File.ReadAllTextAsync(file, cancel), Path.GetFileName(file));
            string address = ApiAddress.Of($"api/v1/models/{model}/policy", ("reason", reason));
            return await _client.Send<ModelPolicyDocument>(HttpMethod.Put, address, policy, cancel);
        }

        public Task<ModelPolicyDocument> RemovePolicy(string model, string reason, CancellationToken cancel) =>
            _client.Send<ModelPolicyDocument>(HttpMethod.Delete, ApiAddress.Of($"api/v1/models/{model}/policy", ("reason", reason)), null,
                cancel);

        public Task<ModelVersionDocument> Describe(string model, int version, string? notes, IReadOnlyList<string>? tags,
            CancellationToken cancel) =>
            _client.Send<ModelVersionDocument>(HttpMethod.Patch, ApiAddress.Of($"api/v1/models/{model}/versions/{version}"),
                new DescribeRequest(notes, tags), cancel);

        public ValueTask DisposeAsync() => _client.DisposeAsync();
    }
}
