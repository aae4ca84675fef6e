using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Outbox;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Alerts;

/// <summary>Wakes the delivery of alerts.</summary>
public sealed class AlertSignal : Signal;

/// <summary>How webhooks are posted to.</summary>
/// <param name="Secret">Signs what is posted; null for unsigned.</param>
/// <param name="AllowsLocal">True where loopback and link-local addresses may be reached.</param>
public sealed record WebhookOptions(string? Secret, bool AllowsLocal)
{
    /// <summary>What a receiver may take for everything: its name, the connection, and the answer's headers to the last byte.</summary>
    public TimeSpan Limit { get; init; } = TimeSpan.FromSeconds(15);

    public static WebhookOptions FromEnvironment()
    {
        string? secret = Environment.GetEnvironmentVariable("ARMOFLOW_WEBHOOK_SECRET");
        bool allowsLocal = Environment.GetEnvironmentVariable("ARMOFLOW_WEBHOOKS_LOCAL") == "1";
        return new WebhookOptions(secret is { Length: > 0 } ? secret : null, allowsLocal);
    }
}

/// <summary>
/// Posts alerts to webhooks until these answer with success: at once, and then ever more seldom. Several are posted to at a time, and
/// each receiver by one post after the other, so that a slow one holds up itself alone. A receiver sees an alert at least once; the
/// header X-ArmoFlow-Delivery tells copies apart, and X-ArmoFlow-Signature is the HMAC-SHA256 of time and body. The status is all that
/// is read of an answer.
/// </summary>
public sealed class AlertDelivery(AlertStore store, AlertSignal signal, WebhookOptions options, TimeProvider time,
    ILogger<AlertDelivery> log) : BackgroundService
{
    private const int MostAtOnce = 16;
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(1), Shortest = TimeSpan.FromMilliseconds(200);
    private readonly HttpClient _http = WebhookGuard.NewClient(options.AllowsLocal);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Dictionary<string, Task> posts = [];
        try
        {
            while (!stoppingToken.IsCancellationRequested)
            {
                TimeSpan pause = Longest;
                try
                {
                    await Begin(posts, stoppingToken);
                    if (await store.NextDue(stoppingToken) is { } next && next - time.GetUtcNow() < pause) pause = next - time.GetUtcNow();
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    log.LogWarning("alerts: {Message}; trying again", e.Message);
                }
                await signal.Wait(pause > Shortest ? pause : Shortest, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested) { }
        finally { await Task.WhenAll(posts.Values); }
    }

    /// <summary>Posts what is due, and returns when all of it was answered or given up.</summary>
    public async Task Round(CancellationToken cancel)
    {
        Dictionary<string, Task> posts = [];
        while (await Begin(posts, cancel) > 0 || posts.Count > 0) await Task.WhenAny(posts.Values);
    }

    /// <summary>Begins to post to every receiver that something is due for and that nothing is being posted to.</summary>
    /// <param name="posts">Posts in progress, by receiver; those that have ended are taken out.</param>
    /// <param name="cancel">Ends the posts too.</param>
    /// <returns>How many were begun.</returns>
    private async Task<int> Begin(Dictionary<string, Task> posts, CancellationToken cancel)
    {
        foreach (string receiver in posts.Where(p => p.Value.IsCompleted).Select(p => p.Key).ToArray()) posts.Remove(receiver);
        int begun = 0;
        foreach (string webhook in await store.DueWebhooks(cancel))
        {
            if (posts.Count >= MostAtOnce) break;
            string receiver = ReceiverOf(webhook);
            if (posts.ContainsKey(receiver) || await store.TakeDue(webhook, cancel) is not { } alert) continue;
            posts[receiver] = Post(alert, cancel);
            begun++;
        }
        return begun;
    }

    /// <summary>Whose time it is that a post takes: the machine and port that answers.</summary>
    private static string ReceiverOf(string webhook) =>
        Uri.TryCreate(webhook, UriKind.Absolute, out Uri? address) ? address.Authority : webhook;

    /// <summary>Posts an alert and enters what came of it; never throws.</summary>
    private async Task Post(Alert alert, CancellationToken cancel)
    {
        await Task.Yield(); // so that whoever begins several does not wait for the first one's address
        try
        {
            string? error = await Send(alert, cancel);
            string receiver = ReceiverOf(alert.Webhook!);
            if (error is not null)
                log.LogWarning("alert {Alert}: {Receiver}: {Error}; attempt {Attempt}", alert.Id, receiver, error, alert.Attempts + 1);
            await store.Settle(alert, error, cancel);
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested) { } // its claim ends, and somebody posts it again
        catch (Exception e) { log.LogWarning("alert {Alert}: {Message}; trying again", alert.Id, e.Message); }
        finally { signal.Raise(); } // the receiver's next may be due
    }

    /// <summary>Why an alert has not arrived; null where it has.</summary>
    private async Task<string?> Send(Alert alert, CancellationToken cancel)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(options.Limit);
        try
        {
            using HttpRequestMessage request = Request(alert);
            using HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
            return response.IsSuccessStatusCode ? null : $"answered {(int)response.StatusCode}";
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return string.Create(CultureInfo.InvariantCulture, $"no answer within {options.Limit.TotalSeconds:0.#} s");
        }
        catch (Exception e) when (e is HttpRequestException or IOException) { return e.Message; }
        // An address that nobody can post to.
        catch (Exception e) when (e is UriFormatException or InvalidOperationException or NotSupportedException) { return e.Message; }
    }

    private HttpRequestMessage Request(Alert alert)
    {
        var message = new { alert.Kind, alert.Id, alert.Model, alert.Version, alert.RunId, alert.RaisedAt, alert.Text };
        string body = JsonSerializer.Serialize(message, JsonSerializerOptions.Web);
        string at = time.GetUtcNow().ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        HttpRequestMessage request =
            new(HttpMethod.Post, alert.Webhook) { Content = new StringContent(body, Encoding.UTF8, "application/json") };
        request.Headers.Add("X-ArmoFlow-Delivery", alert.Id.ToString(CultureInfo.InvariantCulture));
        request.Headers.Add("X-ArmoFlow-Timestamp", at);
        if (options.Secret is { } secret) request.Headers.Add("X-ArmoFlow-Signature", Sign(secret, at, body));
        return request;
    }

    /// <summary>sha256=HEX of HMAC-SHA256 over "TIMESTAMP.BODY".</summary>
    public static string Sign(string secret, string timestamp, string body)
    {
        byte[] mac = HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes($"{timestamp}.{body}"));
        return $"sha256={Convert.ToHexStringLower(mac)}";
    }

    public override void Dispose()
    {
        _http.Dispose();
        base.Dispose();
    }
}
