using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ArmoFlow.Orchestrator.Models;
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
    public static WebhookOptions FromEnvironment() => new(Environment.GetEnvironmentVariable("ARMOFLOW_WEBHOOK_SECRET") is { Length: > 0 } secret ? secret : null, Environment.GetEnvironmentVariable("ARMOFLOW_WEBHOOKS_LOCAL") == "1");
}

/// <summary>
/// Has evaluations and new versions judged whose runs have ended, and posts their alerts to webhooks until these answer with success: at once, and then
/// ever more seldom. The receiver sees an alert at least once; the header X-ArmoFlow-Delivery tells copies apart, and
/// X-ArmoFlow-Signature is the HMAC-SHA256 of time and body.
/// </summary>
public sealed class AlertDelivery(AlertBooks books, EvaluationJudge judge, PromotionRules rules, AlertSignal signal, WebhookOptions options, TimeProvider time, ILogger<AlertDelivery> log) : BackgroundService
{
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(1), Shortest = TimeSpan.FromMilliseconds(200);
    private readonly HttpClient _http = WebhookGuard.NewClient(options.AllowsLocal);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (!stoppingToken.IsCancellationRequested)
            {
                TimeSpan pause = Longest;
                try
                {
                    await Round(stoppingToken);
                    if (await books.NextDue(stoppingToken) is { } next && next - time.GetUtcNow() < pause) pause = next - time.GetUtcNow();
                }
                catch (Exception e) when (e is not OperationCanceledException) { log.LogWarning("alerts: {Message}; trying again", e.Message); }
                await signal.Wait(pause > Shortest ? pause : Shortest, stoppingToken);
            }
        }
        catch (OperationCanceledException) { }
    }

    /// <summary>Judges what is to be judged and posts what is due, once.</summary>
    public async Task Round(CancellationToken cancel)
    {
        await judge.JudgePending(cancel);
        await rules.ApplyPending(cancel);
        while (await books.TakeDue(cancel) is { } alert) await Deliver(alert, cancel);
    }

    private async Task Deliver(Alert alert, CancellationToken cancel)
    {
        string? error;
        try
        {
            using HttpRequestMessage request = Request(alert);
            using HttpResponseMessage response = await _http.SendAsync(request, cancel);
            error = response.IsSuccessStatusCode ? null : $"answered {(int)response.StatusCode}";
        }
        catch (Exception e) when (e is HttpRequestException or IOException || (e is OperationCanceledException && !cancel.IsCancellationRequested)) { error = e is OperationCanceledException ? "no answer in time" : e.Message; }
        if (error is not null) log.LogWarning("alert {Alert}: {Host}: {Error}; attempt {Attempt}", alert.Id, new Uri(alert.Webhook!).Host, error, alert.Attempts + 1);
        await books.Settle(alert, error, cancel);
    }

    private HttpRequestMessage Request(Alert alert)
    {
        string body = JsonSerializer.Serialize(new { alert.Kind, alert.Id, alert.Model, alert.Version, alert.RunId, alert.RaisedAt, alert.Text }, JsonSerializerOptions.Web), at = time.GetUtcNow().ToUnixTimeSeconds().ToString(CultureInfo.InvariantCulture);
        HttpRequestMessage request = new(HttpMethod.Post, alert.Webhook) { Content = new StringContent(body, Encoding.UTF8, "application/json") };
        request.Headers.Add("X-ArmoFlow-Delivery", alert.Id.ToString(CultureInfo.InvariantCulture));
        request.Headers.Add("X-ArmoFlow-Timestamp", at);
        if (options.Secret is { } secret) request.Headers.Add("X-ArmoFlow-Signature", Sign(secret, at, body));
        return request;
    }

    /// <summary>sha256=HEX of HMAC-SHA256 over "TIMESTAMP.BODY".</summary>
    public static string Sign(string secret, string timestamp, string body) => $"sha256={Convert.ToHexStringLower(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), Encoding.UTF8.GetBytes($"{timestamp}.{body}")))}";

    public override void Dispose()
    {
        _http.Dispose();
        base.Dispose();
    }
}
