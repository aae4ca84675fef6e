using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.ServerSentEvents;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Api;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Cli.Runs;

/// <summary>Talks to <c>armoflow serve</c> over HTTP.</summary>
internal sealed class ServerClient : IRunClient
{
    private readonly HttpClient _http;

    public ServerClient(string server)
    {
        bool isAddress = Uri.TryCreate(server.TrimEnd('/') + "/", UriKind.Absolute, out Uri? address)
            && address.Scheme is "http" or "https" && address.Host.Length > 0;
        if (!isAddress)
            throw new UsageException($"--server {Secrets.Mask(server)}: not an address; expected a URL such as http://localhost:5080.");
        _http = new HttpClient { BaseAddress = address, Timeout = Timeout.InfiniteTimeSpan };
        if (Environment.GetEnvironmentVariable("ARMOFLOW_KEY") is { Length: > 0 } key)
            _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
    }

    /// <summary>Submits a spec; its relative paths are sent along, for a server on this machine or on a shared disk.</summary>
    public async Task<Guid> Submit(string specPath, CancellationToken cancel)
    {
        using StringContent body = new(await File.ReadAllTextAsync(specPath, cancel), MediaTypeHeaderValue.Parse("application/yaml"));
        using HttpRequestMessage request = new(HttpMethod.Post, "api/v1/runs") { Content = body };
        request.Headers.Add(RunsApi.SpecFolderHeader, Path.GetDirectoryName(Path.GetFullPath(specPath)));
        using HttpResponseMessage response = await _http.SendAsync(request, cancel);
        return (await Read<RunAccepted>(response, cancel)).RunId;
    }

    public async Task<RunDocument> Find(Guid id, CancellationToken cancel) => await Get<RunDocument>($"api/v1/runs/{id}", cancel);

    public Task<RunSpec> FindSpec(Guid id, CancellationToken cancel) =>
        throw new UsageException("comparing and scoring runs needs their workspace: give --workspace instead of --server.");

    public Task<RunPage> List(RunFilter filter, CancellationToken cancel)
    {
        string address = ApiAddress.Of($"api/v1/runs",
            ("status", filter.Status?.Text()),
            ("name", filter.Name),
            ("tag", filter.Tag),
            ("q", filter.Q),
            ("where", filter.Where),
            ("cursor", filter.Cursor),
            ("limit", filter.Limit));
        return Get<RunPage>(address, cancel);
    }

    public async Task<RunDocument> Control(Guid id, RunAction action, CancellationToken cancel)
    {
        using HttpResponseMessage response = await _http.PostAsync($"api/v1/runs/{id}/{action.Text()}", null, cancel);
        return await Read<RunDocument>(response, cancel);
    }

    public async IAsyncEnumerable<RunEvent> Watch(Guid id,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        using HttpResponseMessage response =
            await _http.GetAsync($"api/v1/runs/{id}/events", HttpCompletionOption.ResponseHeadersRead, cancel);
        if (!response.IsSuccessStatusCode) await Read<RunDocument>(response, cancel);
        await using Stream stream = await response.Content.ReadAsStreamAsync(cancel);
        await foreach (SseItem<RunEvent> item in SseParser.Create(stream,
            (_, data) => JsonSerializer.Deserialize<RunEvent>(data, Terminal.Json)!).EnumerateAsync(cancel))
            yield return item.Data;
    }

    public async Task Download(string sha256, string path, CancellationToken cancel)
    {
        using HttpResponseMessage response =
            await _http.GetAsync($"api/v1/artifacts/{sha256}", HttpCompletionOption.ResponseHeadersRead, cancel);
        if (!response.IsSuccessStatusCode) await Read<RunDocument>(response, cancel);
        await using Stream stream = await response.Content.ReadAsStreamAsync(cancel);
        AtomicFile.Write(path, stream.CopyTo);
    }

    public Task<IReadOnlyList<StepLogDocument>> Logs(Guid id, string? step, CancellationToken cancel) =>
        Get<IReadOnlyList<StepLogDocument>>($"api/v1/runs/{id}/logs{(step is null ? "" : $"?step={step}")}", cancel);

    public async Task<string?> TextOf(StepLogDocument log, CancellationToken cancel)
    {
        if (log.Sha256 is null) return log.Text;
        using HttpResponseMessage response = await _http.GetAsync($"api/v1/artifacts/{log.Sha256}", cancel);
        return response.StatusCode == HttpStatusCode.NotFound
            ? null
            : await response.EnsureSuccessStatusCode().Content.ReadAsStringAsync(cancel);
    }

    public Task<IReadOnlyList<WorkerDocument>> Workers(CancellationToken cancel) =>
        Get<IReadOnlyList<WorkerDocument>>("api/v1/workers", cancel);
    public Task<IReadOnlyList<FaultGroup>> Faults(CancellationToken cancel) => Get<IReadOnlyList<FaultGroup>>("api/v1/faults", cancel);
    public Task<IReadOnlyList<FaultDocument>> Faults(string which, CancellationToken cancel) =>
        Get<IReadOnlyList<FaultDocument>>(ApiAddress.Of($"api/v1/faults/{which}"), cancel);

    public async Task<int> Decide(string which, FaultDecision decision, CancellationToken cancel)
    {
        string address = ApiAddress.Of($"api/v1/faults/{which}/{decision.Text()}");
        using HttpResponseMessage response = await _http.PostAsync(address, null, cancel);
        return (await Read<FaultsDecided>(response, cancel)).Count;
    }

    public async Task<T> Get<T>(string path, CancellationToken cancel)
    {
        using HttpResponseMessage response = await _http.GetAsync(path, cancel);
        return await Read<T>(response, cancel);
    }

    /// <summary>A call with a JSON body, or none; an answer of the kind that is asked for is an answer also where it says no.</summary>
    public async Task<T> Send<T>(HttpMethod method, string path, object? body, CancellationToken cancel, string? specFolder = null)
    {
        using HttpRequestMessage request =
            new(method, path) { Content = body is null ? null : JsonContent.Create(body, options: Terminal.Json) };
        if (specFolder is not null) request.Headers.Add(RunsApi.SpecFolderHeader, specFolder);
        using HttpResponseMessage response = await _http.SendAsync(request, cancel);
        return response.StatusCode == HttpStatusCode.Conflict && response.Content.Headers.ContentType?.MediaType == "application/json"
            ? (await response.Content.ReadFromJsonAsync<T>(Terminal.Json, cancel))! : await Read<T>(response, cancel);
    }

    /// <summary>Sends bytes.</summary>
    public async Task<T> Upload<T>(string path, Stream content, CancellationToken cancel)
    {
        using StreamContent body = new(content);
        using HttpResponseMessage response = await _http.PostAsync(path, body, cancel);
        return await Read<T>(response, cancel);
    }

    /// <summary>A call whose answer is a file.</summary>
    public async Task Save(HttpMethod method, string path, object? body, string file, CancellationToken cancel)
    {
        using HttpRequestMessage request =
            new(method, path) { Content = body is null ? null : JsonContent.Create(body, options: Terminal.Json) };
        using HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel);
        if (!response.IsSuccessStatusCode) await Read<object>(response, cancel);
        await using Stream stream = await response.Content.ReadAsStreamAsync(cancel);
        AtomicFile.Write(file, stream.CopyTo);
    }

    /// <summary>A call whose answer says nothing but that it was done.</summary>
    public async Task Do(HttpMethod method, string path, CancellationToken cancel)
    {
        using HttpRequestMessage request = new(method, path);
        using HttpResponseMessage response = await _http.SendAsync(request, cancel);
        if (!response.IsSuccessStatusCode) await Read<object>(response, cancel);
    }

    private static async Task<T> Read<T>(HttpResponseMessage response, CancellationToken cancel)
    {
        if (response.IsSuccessStatusCode) return (await response.Content.ReadFromJsonAsync<T>(Terminal.Json, cancel))!;
        string text = await response.Content.ReadAsStringAsync(cancel);
        string? detail = null;
        try { detail = JsonElement.Parse(text).TryGetProperty("detail", out JsonElement d) ? d.GetString() : null; }
        catch (JsonException) { detail = text; }
        bool isForTheUser = response.StatusCode is HttpStatusCode.BadRequest or HttpStatusCode.NotFound or HttpStatusCode.Conflict
            or HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden or HttpStatusCode.TooManyRequests
                or HttpStatusCode.MisdirectedRequest;
        if (string.IsNullOrWhiteSpace(detail)) detail = WithoutDetail(response);
        throw isForTheUser ? new UsageException(detail)
            : new ServerAwayException($"the server answered {(int)response.StatusCode} {response.ReasonPhrase}: {detail}");
    }

    /// <summary>What an answer without a word means, as that of a proxy between.</summary>
    private static string WithoutDetail(HttpResponseMessage response) => response.StatusCode switch
    {
        HttpStatusCode.Unauthorized =>
            "the server asks for a key. Set ARMOFLOW_KEY to one; an administrator makes it: armoflow keys create NAME.",
        HttpStatusCode.Forbidden =>
            "the key may not do this. Ask an administrator for one of a wider scope: armoflow keys create NAME --scope ….",
        HttpStatusCode.NotFound => "there is no such call: --server may name another program, or an older server.",
        _ => response.ReasonPhrase ?? "refused",
    };

    public ValueTask DisposeAsync()
    {
        _http.Dispose();
        return ValueTask.CompletedTask;
    }
}
