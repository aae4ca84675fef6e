using System.Globalization;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Retention;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Retention;

/// <summary>
/// Collects when the retention policy's time has come; of several orchestrators one does. A time that passed while none ran is made
/// up for once.
/// </summary>
public sealed class CollectionEngine(
    RetentionPolicyStore store,
    Collector collector,
    TimeProvider time,
    ILogger<CollectionEngine> log) : PeriodicService("retention", TimeSpan.FromMinutes(1), FirstRound.AfterInterval, log)
{
    protected override Task Round(CancellationToken cancel) => Look(cancel);

    /// <summary>Collects, if it is time and nobody else does.</summary>
    public async Task Look(CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        if (await store.Find(cancel) is not { } policy) return;
        if (Plausible.IsAhead(policy.ActiveSince, now))
        {
            await Mend(policy, now, cancel);
            return;
        }
        bool isAhead = policy.LastAt is { } entered && Plausible.IsAhead(entered, now);
        DateTimeOffset? last = isAhead ? null : policy.LastAt;
        DateTimeOffset since = last > policy.ActiveSince ? last.Value : policy.ActiveSince;
        if (new ScheduleTimes(policy.Cron, policy.TimeZone).Newest(since, now).Due is null) return;
        if (isAhead)
        {
            log.LogWarning("retention: the last collection is entered for {LastAt:O}, which has not come: the clock was ahead. It is not "
                + "counted",
                policy.LastAt);
        }
        if (!await store.TakeTurn(policy, now, cancel)) return; // it is another orchestrator's
        string outcome = await Collect(new RetentionRules(TimeSpan.FromDays(policy.OlderThanDays), policy.KeepLast), cancel);
        await store.SetOutcome(now, outcome, cancel);
    }

    /// <summary>A policy that was set while the clock was ahead holds from now on.</summary>
    private async Task Mend(RetentionPolicy policy, DateTimeOffset now, CancellationToken cancel)
    {
        log.LogWarning("retention: the policy holds from {ActiveSince:O} on, which has not come: the clock was ahead. It holds from now on",
            policy.ActiveSince);
        await store.MendActiveSince(policy, now, cancel);
    }

    private async Task<string> Collect(RetentionRules rules, CancellationToken cancel)
    {
        try
        {
            Collection collection = await collector.Collect(rules, dryRun: false, cancel);
            return string.Create(CultureInfo.InvariantCulture,
                $"{collection.Artifacts.Count:N0} artifacts of {collection.Bytes:N0} bytes removed");
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            log.LogWarning("retention: the collection ended early: {Message}; the next goes on", e.Message);
            return $"ended early: {e.Message}";
        }
    }
}
