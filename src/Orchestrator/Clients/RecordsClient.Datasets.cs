using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Datasets;
using ArmoFlow.Persistence.Datasets;

namespace ArmoFlow.Orchestrator.Clients;

/// <content>Named data sets, and the policies that wait for them.</content>
public partial class RecordsClient
{
    public Task<IReadOnlyList<DatasetDocument>> ListDatasets(CancellationToken cancel) => Get<DatasetStore>().List(cancel);

    public async Task<IReadOnlyList<DatasetFileDocument>> DatasetFiles(string dataset, int? version, CancellationToken cancel) =>
        [.. (await Get<DatasetStore>().Files(dataset, version, cancel)).Select(f => f.ToDocument())];

    public Task<DatasetAddition> AddFile(string dataset, string fileName, Stream content, CancellationToken cancel) =>
        Get<DatasetStore>().Add(dataset, fileName, content, cancel);

    public async Task<DatasetFileDocument> WithdrawFile(string dataset, string file, string reason, CancellationToken cancel) =>
        (await Get<DatasetStore>().Withdraw(dataset, file, reason, cancel)).ToDocument();

    public Task<IReadOnlyList<WatchDocument>> Watches(CancellationToken cancel) => Get<DatasetWatcher>().List(cancel);

    public Task<WatchDocument> WatchPlace(string dataset, string address, CancellationToken cancel) =>
        Get<DatasetWatcher>().Watch(dataset, address, cancel);

    public Task UnwatchPlace(string dataset, string address, CancellationToken cancel) =>
        Get<DatasetWatcher>().Unwatch(dataset, address, cancel);

    public Task<IReadOnlyList<PolicyDocument>> ListPolicies(CancellationToken cancel) => Get<PolicyService>().List(cancel);

    public Task<PolicyDocument> PutPolicy(PolicyRequest request, string folder, CancellationToken cancel) =>
        Get<PolicyService>().Put(request.Name, SpecReader.Parse(request.Spec, "spec", folder), cancel);

    public Task<PolicyDocument> PausePolicy(string name, CancellationToken cancel) => Get<PolicyService>().Pause(name, true, cancel);

    public Task<PolicyDocument> ResumePolicy(string name, CancellationToken cancel) => Get<PolicyService>().Pause(name, false, cancel);

    public Task RemovePolicy(string name, CancellationToken cancel) => Get<PolicyService>().Remove(name, cancel);
}
