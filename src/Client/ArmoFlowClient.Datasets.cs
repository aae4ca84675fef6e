using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Client;

/// <content>Named data sets, and the policies that wait for them.</content>
public sealed partial class ArmoFlowClient
{
    /// <inheritdoc/>
    public Task<IReadOnlyList<DatasetDocument>> ListDatasets(CancellationToken cancel) =>
        Get<IReadOnlyList<DatasetDocument>>("api/v1/datasets", cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<DatasetFileDocument>> DatasetFiles(string dataset, int? version, CancellationToken cancel) =>
        Get<IReadOnlyList<DatasetFileDocument>>(ApiAddress.Of($"api/v1/datasets/{dataset}/files", ("version", version)), cancel);

    /// <inheritdoc/>
    public async Task<DatasetAddition> AddFile(string dataset, string fileName, Stream content, CancellationToken cancel)
    {
        using StreamContent body = new(content);
        string address = ApiAddress.Of($"api/v1/datasets/{dataset}/files", ("fileName", fileName));
        using HttpResponseMessage response = await _http.PostAsync(address, body, cancel);
        return await Read<DatasetAddition>(response, cancel);
    }

    /// <inheritdoc/>
    public Task<DatasetFileDocument> WithdrawFile(string dataset, string file, string reason, CancellationToken cancel) =>
        Send<DatasetFileDocument>(HttpMethod.Delete,
            ApiAddress.Of($"api/v1/datasets/{dataset}/files/{file}", ("reason", reason)), null, cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<WatchDocument>> Watches(CancellationToken cancel) =>
        Get<IReadOnlyList<WatchDocument>>("api/v1/datasets/watches", cancel);

    /// <inheritdoc/>
    public Task<WatchDocument> WatchPlace(string dataset, string address, CancellationToken cancel) =>
        Send<WatchDocument>(HttpMethod.Post, ApiAddress.Of($"api/v1/datasets/{dataset}/watches"),
            new WatchRequest { Address = address }, cancel);

    /// <inheritdoc/>
    public Task UnwatchPlace(string dataset, string address, CancellationToken cancel) =>
        Do(HttpMethod.Delete, ApiAddress.Of($"api/v1/datasets/{dataset}/watches", ("address", address)), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<PolicyDocument>> ListPolicies(CancellationToken cancel) =>
        Get<IReadOnlyList<PolicyDocument>>("api/v1/policies", cancel);

    /// <inheritdoc/>
    public Task<PolicyDocument> PutPolicy(PolicyRequest request, string folder, CancellationToken cancel) =>
        Send<PolicyDocument>(HttpMethod.Post, "api/v1/policies", request, cancel, folder);

    /// <inheritdoc/>
    public Task<PolicyDocument> PausePolicy(string name, CancellationToken cancel) =>
        Send<PolicyDocument>(HttpMethod.Post, ApiAddress.Of($"api/v1/policies/{name}/pause"), new { }, cancel);

    /// <inheritdoc/>
    public Task<PolicyDocument> ResumePolicy(string name, CancellationToken cancel) =>
        Send<PolicyDocument>(HttpMethod.Post, ApiAddress.Of($"api/v1/policies/{name}/resume"), new { }, cancel);

    /// <inheritdoc/>
    public Task RemovePolicy(string name, CancellationToken cancel) =>
        Do(HttpMethod.Delete, ApiAddress.Of($"api/v1/policies/{name}"), cancel);
}
