using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Persistence.Outbox;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Alerts;

/// <summary>Wakes the judging of evaluations and of new versions.</summary>
public sealed class JudgeSignal : Signal;

/// <summary>
/// Holds evaluations and new versions against their gates, as soon as their runs have ended. What it raises is delivered by others
/// (<see cref="AlertDelivery"/>): it waits for no receiver.
/// </summary>
public sealed class Judging(EvaluationJudge judge, PromotionRules rules, JudgeSignal judging, AlertSignal alerts, ILogger<Judging> log)
    : BackgroundService
{
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            while (!stoppingToken.IsCancellationRequested)
            {
                await Round(stoppingToken);
                await judging.Wait(Longest, stoppingToken);
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested) { }
    }

    /// <summary>Judges what is to be judged, once.</summary>
    public async Task Round(CancellationToken cancel)
    {
        await Try("evaluations", judge.JudgePending, cancel);
        await Try("new versions", rules.ApplyPending, cancel);
        alerts.Raise();
    }

    /// <summary>What one of them cannot do does not keep the other from its work.</summary>
    private async Task Try(string what, Func<CancellationToken, Task> work, CancellationToken cancel)
    {
        try { await work(cancel); }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            log.LogWarning("judging {What}: {Message}; trying again", what, e.Message);
        }
    }
}
