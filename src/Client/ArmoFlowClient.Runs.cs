using System.Net;
using System.Net.Http.Headers;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Client;

/// <content>Runs, what they made, and who works on them.</content>
public sealed partial class ArmoFlowClient
{
    /// <inheritdoc/>
    public async Task<Guid> Submit(string spec, string folder, CancellationToken cancel)
    {
        using StringContent body = new(spec, Encoding.UTF8, new MediaTypeHeaderValue("application/yaml"));
        using HttpRequestMessage request = new(HttpMethod.Post, "api/v1/runs") { Content = body };
        request.Headers.Add(ApiHeaders.SpecFolder, folder);
        using HttpResponseMessage response = await _http.SendAsync(request, cancel);
        return (await Read<RunAccepted>(response, cancel)).RunId;
    }

    /// <inheritdoc/>
    public Task<RunDocument> FindRun(Guid id, CancellationToken cancel) => Get<RunDocument>($"api/v1/runs/{id}", cancel);

    /// <inheritdoc/>
    public Task<RunSpec> FindSpec(Guid id, bool withoutForgotten, CancellationToken cancel) =>
        Get<RunSpec>(ApiAddress.Of($"api/v1/runs/{id}/spec", ("withoutForgotten", withoutForgotten)), cancel);

    /// <inheritdoc/>
    public Task<RunPage> ListRuns(RunFilter filter, CancellationToken cancel)
    {
        string address = ApiAddress.Of($"api/v1/runs",
            ("status", filter.Status?.Text()),
            ("name", filter.Name),
            ("tag", filter.Tag),
            ("from", filter.From),
            ("to", filter.To),
            ("q", filter.Q),
            ("where", filter.Where),
            ("cursor", filter.Cursor),
            ("limit", filter.Limit));
        return Get<RunPage>(address, cancel);
    }

    /// <inheritdoc/>
    public async Task<RunDocument> Control(Guid id, RunAction action, CancellationToken cancel)
    {
        using HttpResponseMessage response = await _http.PostAsync($"api/v1/runs/{id}/{action.Text()}", null, cancel);
        return await Read<RunDocument>(response, cancel);
    }

    /// <inheritdoc/>
    public async IAsyncEnumerable<RunEvent> Watch(Guid id, [EnumeratorCancellation] CancellationToken cancel)
    {
        using HttpResponseMessage response =
            await _http.GetAsync($"api/v1/runs/{id}/events", HttpCompletionOption.ResponseHeadersRead, cancel);
        await RequireSuccess(response, cancel);
        await using Stream stream = await response.Content.ReadAsStreamAsync(cancel);
        SseParser<RunEvent> events = SseParser.Create(stream, (_, data) => JsonSerializer.Deserialize<RunEvent>(data, Json)!);
        await foreach (SseItem<RunEvent> item in events.EnumerateAsync(cancel)) yield return item.Data;
    }

    /// <inheritdoc/>
    public Task<RunGates> Gates(Guid id, CancellationToken cancel) => Get<RunGates>($"api/v1/runs/{id}/gates", cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<StepLogDocument>> Logs(Guid id, string? step, CancellationToken cancel) =>
        Get<IReadOnlyList<StepLogDocument>>(ApiAddress.Of($"api/v1/runs/{id}/logs", ("step", step)), cancel);

    /// <inheritdoc/>
    public async Task<string?> TextOf(StepLogDocument log, CancellationToken cancel)
    {
        if (log.Sha256 is not { } sha256) return log.Text;
        using MemoryStream text = new();
        try { await CopyArtifact(sha256, text, cancel); }
        catch (RequestRefusedException e) when (e.Status == HttpStatusCode.NotFound) { return null; }
        return Encoding.UTF8.GetString(text.ToArray());
    }

    /// <inheritdoc/>
    public Task CopyArtifact(string sha256, Stream to, CancellationToken cancel) =>
        Copy(HttpMethod.Get, ApiAddress.Of($"api/v1/artifacts/{sha256}"), null, to, cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<LineageStep>> Trace(string sha256, LineageDirection direction, Guid? run, CancellationToken cancel) =>
        Get<IReadOnlyList<LineageStep>>(
            ApiAddress.Of($"api/v1/lineage/{sha256}", ("direction", direction.Text()), ("run", run)), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<UsedBy>> UsersOf(string conversation, CancellationToken cancel) =>
        Get<IReadOnlyList<UsedBy>>(ApiAddress.Of($"api/v1/lineage/conversations/{conversation}"), cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<WorkerDocument>> Workers(CancellationToken cancel) =>
        Get<IReadOnlyList<WorkerDocument>>("api/v1/workers", cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<FaultGroup>> FaultGroups(CancellationToken cancel) =>
        Get<IReadOnlyList<FaultGroup>>("api/v1/faults", cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<FaultDocument>> Faults(string which, CancellationToken cancel) =>
        Get<IReadOnlyList<FaultDocument>>(ApiAddress.Of($"api/v1/faults/{which}"), cancel);

    /// <inheritdoc/>
    public async Task<int> Decide(string which, FaultDecision decision, CancellationToken cancel)
    {
        string address = ApiAddress.Of($"api/v1/faults/{which}/{decision.Text()}");
        return (await Send<FaultsDecided>(HttpMethod.Post, address, null, cancel)).Count;
    }
}
