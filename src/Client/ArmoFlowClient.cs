using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using ArmoFlow.Contracts;

namespace ArmoFlow.Client;

/// <summary>Asks a server, such as <c>armoflow serve</c>, over HTTP. One may be used by many threads at once.</summary>
public sealed partial class ArmoFlowClient : IArmoFlowClient
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    /// <summary>Answers that say what the caller can mend.</summary>
    private static readonly HttpStatusCode[] Refusals =
    [
        HttpStatusCode.BadRequest, HttpStatusCode.Unauthorized, HttpStatusCode.Forbidden, HttpStatusCode.NotFound,
        HttpStatusCode.Conflict, HttpStatusCode.MisdirectedRequest, HttpStatusCode.TooManyRequests,
    ];

    private readonly HttpClient _http;

    /// <summary>A client of one server.</summary>
    /// <param name="server">Its address, such as http://localhost:5080.</param>
    /// <param name="key">A key to it; null for none.</param>
    public ArmoFlowClient(Uri server, string? key = null)
    {
        _http = new HttpClient
        {
            BaseAddress = new Uri(server.AbsoluteUri.TrimEnd('/') + "/"),
            Timeout = Timeout.InfiniteTimeSpan, // a trail is verified, a data set sent, a run followed for as long as that takes
        };
        if (!string.IsNullOrEmpty(key)) _http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        _http.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<T> Get<T>(string address, CancellationToken cancel)
    {
        using HttpResponseMessage response = await _http.GetAsync(address, cancel);
        return await Read<T>(response, cancel);
    }

    /// <summary>The same, where the API itself may answer that there is nothing.</summary>
    private async Task<T?> GetOrNull<T>(string address, CancellationToken cancel) where T : class
    {
        using HttpResponseMessage response = await _http.GetAsync(address, cancel);
        bool isNothing = response.StatusCode == HttpStatusCode.NotFound && IsJson(response, "application/problem+json");
        return isNothing ? null : await Read<T>(response, cancel);
    }

    /// <summary>A call with a JSON body, or none; an answer of the kind that is asked for is an answer also where it says no.</summary>
    private async Task<T> Send<T>(HttpMethod method, string address, object? body, CancellationToken cancel, string? specFolder = null)
    {
        using HttpRequestMessage request = Request(method, address, body);
        if (specFolder is not null) request.Headers.Add(ApiHeaders.SpecFolder, specFolder);
        using HttpResponseMessage response = await _http.SendAsync(request, cancel);
        return response.StatusCode == HttpStatusCode.Conflict && IsJson(response, "application/json")
            ? (await response.Content.ReadFromJsonAsync<T>(Json, cancel))!
            : await Read<T>(response, cancel);
    }

    /// <summary>A call whose answer says nothing but that it was done.</summary>
    private async Task Do(HttpMethod method, string address, CancellationToken cancel)
    {
        using HttpRequestMessage request = new(method, address);
        using HttpResponseMessage response = await _http.SendAsync(request, cancel);
        await RequireSuccess(response, cancel);
    }

    /// <summary>A call whose answer is a file.</summary>
    private async Task Copy(HttpMethod method, string address, object? body, Stream to, CancellationToken cancel)
    {
        using HttpRequestMessage request = Request(method, address, body);
        using HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancel);
        await RequireSuccess(response, cancel);
        await response.Content.CopyToAsync(to, cancel);
    }

    private static HttpRequestMessage Request(HttpMethod method, string address, object? body) =>
        new(method, address) { Content = body is null ? null : JsonContent.Create(body, body.GetType(), options: Json) };

    private static bool IsJson(HttpResponseMessage response, string kind) => response.Content.Headers.ContentType?.MediaType == kind;

    private static async Task<T> Read<T>(HttpResponseMessage response, CancellationToken cancel)
    {
        await RequireSuccess(response, cancel);
        return (await response.Content.ReadFromJsonAsync<T>(Json, cancel))!;
    }

    private static async Task RequireSuccess(HttpResponseMessage response, CancellationToken cancel)
    {
        if (response.IsSuccessStatusCode) return;
        string? detail = DetailOf(await response.Content.ReadAsStringAsync(cancel));
        if (string.IsNullOrWhiteSpace(detail)) detail = WithoutDetail(response);
        if (Refusals.Contains(response.StatusCode)) throw new RequestRefusedException(response.StatusCode, detail);
        throw new ServerUnavailableException($"the server answered {(int)response.StatusCode} {response.ReasonPhrase}: {detail}");
    }

    private static string? DetailOf(string answer)
    {
        try
        {
            JsonElement problem = JsonElement.Parse(answer);
            bool hasDetail = problem.ValueKind == JsonValueKind.Object && problem.TryGetProperty("detail", out _);
            return hasDetail ? problem.GetProperty("detail").GetString() : null;
        }
        catch (JsonException) { return answer; }
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
}
