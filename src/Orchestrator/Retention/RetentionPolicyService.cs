using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Schedules;

namespace ArmoFlow.Orchestrator.Retention;

/// <summary>Sets, shows and removes the policy by which servers collect; needs no bus.</summary>
public sealed class RetentionPolicyService(RetentionPolicyStore store, TimeProvider time)
{
    private const int Preview = 5;

    /// <exception cref="RetentionException">No policy is set.</exception>
    public async Task<RetentionPolicyDocument> Get(CancellationToken cancel) => Document(await store.Get(cancel));

    /// <summary>Has servers collect by the clock from now on, in place of what they did before.</summary>
    /// <exception cref="ScheduleException">The cron expression or the time zone is not valid.</exception>
    public async Task<RetentionPolicyDocument> Put(RetentionRules rules, string cron, string timeZone, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        if (new ScheduleTimes(cron, timeZone).After(now, 1).Count == 0)
            throw new ScheduleException($"cron '{cron}' is never due. Correct it.");
        return Document(await store.Put(row =>
        {
            row.OlderThanDays = rules.OlderThan.TotalDays;
            row.KeepLast = rules.KeepLast;
            row.Cron = cron;
            row.TimeZone = timeZone;
            row.SetBy = Caller.Current.Name;
            row.ActiveSince = now;
        }, cancel));
    }

    /// <exception cref="RetentionException">No policy is set.</exception>
    public Task Remove(CancellationToken cancel) => store.Remove(cancel);

    private RetentionPolicyDocument Document(RetentionPolicy p) =>
        new(p.OlderThanDays, p.KeepLast, p.Cron, p.TimeZone, p.SetBy, p.LastAt, p.LastOutcome,
            new ScheduleTimes(p.Cron, p.TimeZone).After(time.GetUtcNow(), Preview));
}
