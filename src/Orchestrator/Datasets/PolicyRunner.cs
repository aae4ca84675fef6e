using System.Globalization;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Runs;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Datasets;

/// <summary>
/// Runs the specs of policies whose data sets have grown enough. It may look at any time and on several orchestrators: a policy's
/// turn and its run are one transaction, what arrives while its run is in progress is one later run's.
/// </summary>
public sealed class PolicyRunner(
    RetrainPolicyStore store,
    UnitsOfWork units,
    RunService runs,
    RunStore states,
    TimeProvider time,
    ILogger<PolicyRunner> log)
{
    private static readonly TimeSpan LongestPeriod = TimeSpan.FromDays(366);

    public async Task Look(CancellationToken cancel)
    {
        foreach (RetrainPolicy policy in (await store.List(cancel)).Where(p => p.PausedAt is null))
        {
            try { await Look(policy, cancel); }
            // the others have their turn all the same
            catch (RefusedException e) { log.LogWarning("policy {Policy}: {Message}", policy.Name, e.Message); }
        }
    }

    private async Task Look(RetrainPolicy policy, CancellationToken cancel)
    {
        RetrainSpec when = policy.Spec.Retrain ?? new RetrainSpec();
        DateTimeOffset now = time.GetUtcNow();
        bool isAhead = policy.LastRunAt is { } entered && Plausible.IsAhead(entered, now);
        if (!isAhead && policy.LastRunAt is { } last && now - last < TimeSpan.FromHours(when.AtMostEveryHours)) return;
        if (policy.LastRunId is { } run && await states.IsInProgress(run, cancel)) return;
        IReadOnlyList<DatasetFile> files = await store.Files(policy, cancel);
        List<DatasetFile> added = [.. files.Where(f => f.WithdrawnIn is null && f.Version > policy.Versions[f.Dataset])];
        // What a clock that was ahead has entered lies there for long enough.
        DateTimeOffset ArrivedAt(DatasetFile file) => Plausible.IsAhead(file.AddedAt, now) ? DateTimeOffset.UnixEpoch : file.AddedAt;
        if (when.Cron is { } cron && added.Count > 0)
        {
            // What has arrived before the newest of the policy's times; the rest waits for the next.
            DateTimeOffset first = added.Min(f => Plausible.IsAhead(f.AddedAt, now) ? now - LongestPeriod : f.AddedAt);
            DateTimeOffset? due = new ScheduleTimes(cron, "UTC").Newest(first, now).Due;
            added.RemoveAll(f => due is null || ArrivedAt(f) > due);
        }
        if (added.Count == 0 || now - added.Max(ArrivedAt) < TimeSpan.FromSeconds(when.DebounceSeconds)) return;
        bool isCounted = added.All(f => f.Rows is not null);
        long rows = added.Sum(f => f.Rows ?? 0),
            before = files.Where(f => f.WithdrawnIn is null && f.Version <= policy.Versions[f.Dataset]).Sum(f => f.Rows ?? 0);
        bool isEnough = !isCounted
            || (when.NewRows is null && when.NewShare is null)
            || rows >= when.NewRows
            || (when.NewShare is { } share && rows >= share * before);
        if (!isEnough) return;
        string brought = isCounted ? $"{rows.ToString("N0", CultureInfo.InvariantCulture)} new rows" : $"{added.Count} new files";
        if (isAhead)
        {
            log.LogWarning("policy {Policy}: its last run is entered for {LastRunAt:O}, which has not come: the clock was ahead. It is "
                + "not counted",
                policy.Name, policy.LastRunAt);
        }
        await Run(policy, files, added, brought, now, cancel);
    }

    private async Task Run(RetrainPolicy policy, IReadOnlyList<DatasetFile> files, List<DatasetFile> added, string brought,
        DateTimeOffset now, CancellationToken cancel)
    {
        await using UnitOfWork unit = await units.Begin(cancel);
        if (await RetrainPolicyStore.TakeTurn(unit, policy, cancel) is not { } row) return; // it is another orchestrator's
        string from = string.Join(", ", added.GroupBy(f => f.Dataset).Select(g => $"{g.Key}@{g.Max(f => f.Version)}"));
        // Settled here, so that what arrives from now on is not taken for read.
        row.Versions = policy.Versions.ToDictionary(v => v.Key,
            v => Settled(v.Value, [.. files.Where(f => f.Dataset == v.Key)], [.. added.Where(f => f.Dataset == v.Key)]));
        RunSpec settled = DatasetReference.Replace(policy.Spec,
            f => DatasetReference.TryParse(f) is { Version: null } r ? (r with { Version = row.Versions[r.Name] }).ToString() : f);
        Guid run = await runs.Submit(unit, settled, $"policy {policy.Name}: {brought} in {from}", cancel);
        row.LastRunAt = now;
        row.LastRunId = run;
        unit.Note("policy.fired", $"policy/{policy.Name}", new { versions = policy.Versions },
            new { versions = row.Versions, run = row.LastRunId, brought });
        await unit.Commit(cancel);
    }

    /// <summary>The newest version that brings nothing which is to wait: what was withdrawn up to there is left out.</summary>
    private static int Settled(int before, List<DatasetFile> files, List<DatasetFile> added)
    {
        int waits = files.Where(f => f.WithdrawnIn is null && f.Version > before)
            .Except(added)
            .Select(f => f.Version)
            .DefaultIfEmpty(int.MaxValue)
            .Min();
        return added.Select(f => f.Version).Concat(files.Select(f => f.WithdrawnIn ?? 0)).Where(v => v < waits).Append(before).Max();
    }
}

/// <summary>Looks twice a minute whether data has arrived where it is watched for, and whether a policy's has grown.</summary>
public sealed class PolicyEngine(DatasetWatcher watcher, PolicyRunner runner, ILogger<PolicyEngine> log)
    : PeriodicService("data sets and policies", TimeSpan.FromSeconds(30), FirstRound.AfterInterval, log)
{
    protected override async Task Round(CancellationToken cancel)
    {
        await watcher.Look(cancel);
        await runner.Look(cancel);
    }
}
