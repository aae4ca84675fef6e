using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Api;
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
    Task<IReadOnlyList<AliasPeriod>> History(string model, CancellationToken cancel);

    /// <summary>What an alias meant; null for nothing.</summary>
    Task<AliasPeriod?> At(string model, string alias, DateTimeOffset at, DateTimeOffset? known, CancellationToken cancel);
    Task<IReadOnlyList<ModelEvaluation>> Evaluations(string model, CancellationToken cancel);
    Task<IReadOnlyList<Alert>> Alerts(string model, CancellationToken cancel);
    Task<Promotion> Promote(string model, int version, string alias, bool force, string? reason, CancellationToken cancel);
    Task<AliasPeriod> RollBack(string model, string alias, int? to, string? reason, CancellationToken cancel);

    /// <summary>Says where a version's backbone lies now.</summary>
    Task<PlacedBackbone> PlaceBackbone(string model, int? version, string path, CancellationToken cancel);

    /// <summary>The model's policy; null where it has none.</summary>
    Task<ModelPolicy?> Policy(string model, CancellationToken cancel);
    Task<IReadOnlyList<ModelPolicy>> PolicyHistory(string model, CancellationToken cancel);

    /// <summary>Sets the policy that a file holds.</summary>
    Task<ModelPolicy> SetPolicy(string model, string file, string reason, CancellationToken cancel);
    Task<ModelPolicy> RemovePolicy(string model, string reason, CancellationToken cancel);
    Task<ModelVersion> Describe(string model, int version, string? notes, IReadOnlyList<string>? tags, CancellationToken cancel);

    static IModelClient Open(string? server, string workspace) =>
        server is null ? new WorkspaceModels(workspace) : new ServerModels(server);

    private sealed class WorkspaceModels(string folder) : IModelClient
    {
        private readonly ServiceProvider _books = EmbeddedHost.OpenDatabase(folder);

        private ModelRegistry Registry => _books.GetRequiredService<ModelRegistry>();
        private PolicyStore Policies => _books.GetRequiredService<PolicyStore>();
        private AlertStore Books => _books.GetRequiredService<AlertStore>();
        private ModelService Service => _books.GetRequiredService<ModelService>();

        public Task<IReadOnlyList<ModelSummary>> List(CancellationToken cancel) => Registry.List(cancel);
        public Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel) => Service.Versions(model, cancel);
        public Task<IReadOnlyList<AliasPeriod>> History(string model, CancellationToken cancel) => Registry.History(model, cancel);
        public Task<AliasPeriod?> At(string model, string alias, DateTimeOffset at, DateTimeOffset? known, CancellationToken cancel) =>
            Registry.At(model, alias, at, known, cancel);
        public Task<IReadOnlyList<ModelEvaluation>> Evaluations(string model, CancellationToken cancel) =>
            Books.Evaluations(model, Shown, cancel);
        public Task<IReadOnlyList<Alert>> Alerts(string model, CancellationToken cancel) => Books.Alerts(model, Shown, cancel);
        public Task<Promotion> Promote(string model, int version, string alias, bool force, string? reason, CancellationToken cancel) =>
            Service.Promote($"{model}@{version}", alias, force, reason, cancel);
        public Task<AliasPeriod> RollBack(string model, string alias, int? to, string? reason, CancellationToken cancel) =>
            Service.RollBack(model, alias, to, reason, cancel);
        public Task<PlacedBackbone> PlaceBackbone(string model, int? version, string path, CancellationToken cancel) =>
            Service.PlaceBackbone(version is { } number ? $"{model}@{number}" : model, path, cancel);
        public Task<ModelPolicy?> Policy(string model, CancellationToken cancel) => Policies.Current(model, cancel);
        public Task<IReadOnlyList<ModelPolicy>> PolicyHistory(string model, CancellationToken cancel) => Policies.History(model, cancel);
        public async Task<ModelPolicy> SetPolicy(string model, string file, string reason, CancellationToken cancel) =>
            await Policies.Set(model, SpecReader.ParsePolicy(await File.ReadAllTextAsync(file, cancel), Path.GetFileName(file)), reason,
            cancel);
        public Task<ModelPolicy> RemovePolicy(string model, string reason, CancellationToken cancel) =>
            Policies.Remove(model, reason, cancel);
        public async Task<ModelVersion> Describe(string model, int version, string? notes, IReadOnlyList<string>? tags,
            CancellationToken cancel) => await Registry.Describe(await Registry.Resolve($"{model}@{version}", cancel), notes, tags, cancel);
        public ValueTask DisposeAsync() => _books.DisposeAsync();
    }

    private sealed class ServerModels(string server) : IModelClient
    {
        private readonly ServerClient _client = new(server);


        public Task<IReadOnlyList<ModelSummary>> List(CancellationToken cancel) =>
            _client.Get<IReadOnlyList<ModelSummary>>("api/v1/models", cancel);
        public Task<IReadOnlyList<VersionDocument>> Versions(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<VersionDocument>>(ApiAddress.Of($"api/v1/models/{model}/versions"), cancel);
        public Task<IReadOnlyList<AliasPeriod>> History(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<AliasPeriod>>(ApiAddress.Of($"api/v1/models/{model}/history"), cancel);

        public Task<IReadOnlyList<ModelEvaluation>> Evaluations(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<ModelEvaluation>>(ApiAddress.Of($"api/v1/models/{model}/evaluations", ("limit", Shown)), cancel);
        public Task<IReadOnlyList<Alert>> Alerts(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<Alert>>(ApiAddress.Of($"api/v1/models/{model}/alerts", ("limit", Shown)), cancel);

        public async Task<AliasPeriod?> At(string model, string alias, DateTimeOffset at, DateTimeOffset? known, CancellationToken cancel)
        {
            try
            {
                return await _client.Get<AliasPeriod>(
                    ApiAddress.Of($"api/v1/models/{model}/aliases/{alias}", ("at", at), ("known", known)), cancel);
            }
            catch (UsageException e) when (e.Message.EndsWith("meant nothing then", StringComparison.Ordinal)) { return null; }
        }

        public Task<Promotion> Promote(string model, int version, string alias, bool force, string? reason, CancellationToken cancel) =>
            _client.Send<Promotion>(HttpMethod.Put, ApiAddress.Of($"api/v1/models/{model}/aliases/{alias}"),
                new AliasRequest(version, force, reason), cancel);

        public Task<AliasPeriod> RollBack(string model, string alias, int? to, string? reason, CancellationToken cancel) =>
            _client.Send<AliasPeriod>(HttpMethod.Post, ApiAddress.Of($"api/v1/models/{model}/aliases/{alias}/rollback"),
                new RollbackRequest(reason, to), cancel);

        public Task<PlacedBackbone> PlaceBackbone(string model, int? version, string path, CancellationToken cancel) =>
            _client.Send<PlacedBackbone>(HttpMethod.Put, ApiAddress.Of($"api/v1/models/{model}/backbone"),
                new BackboneRequest(path, version), cancel);

        public async Task<ModelPolicy?> Policy(string model, CancellationToken cancel) =>
            await PolicyHistory(model, cancel) is [{ Policy: not null } newest, ..] ? newest : null;
        public Task<IReadOnlyList<ModelPolicy>> PolicyHistory(string model, CancellationToken cancel) =>
            _client.Get<IReadOnlyList<ModelPolicy>>(ApiAddress.Of($"api/v1/models/{model}/policy/history"), cancel);

        public async Task<ModelPolicy> SetPolicy(string model, string file, string reason, CancellationToken cancel)
        {
            // its errors name the file's lines
            PolicySpec policy = SpecReader.ParsePolicy(await File.ReadAllTextAsync(file, cancel), Path.GetFileName(file));
            return await _client.Send<ModelPolicy>(HttpMethod.Put, ApiAddress.Of($"api/v1/models/{model}/policy", ("reason", reason)),
                policy,
                    cancel);
        }

        public Task<ModelPolicy> RemovePolicy(string model, string reason, CancellationToken cancel) =>
            _client.Send<ModelPolicy>(HttpMethod.Delete, ApiAddress.Of($"api/v1/models/{model}/policy", ("reason", reason)), null, cancel);

        public Task<ModelVersion> Describe(string model, int version, string? notes, IReadOnlyList<string>? tags,
            CancellationToken cancel) =>
            _client.Send<ModelVersion>(HttpMethod.Patch, ApiAddress.Of($"api/v1/models/{model}/versions/{version}"),
                new DescribeRequest(notes, tags), cancel);

        public ValueTask DisposeAsync() => _client.DisposeAsync();
    }
}
