using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Retention;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Orchestrator.Retention;

/// <summary>Sets, shows and removes the policy by which servers collect; needs no bus.</summary>
public sealed class RetentionPolicyService(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    private const int Preview = 5;

    /// <exception cref="RetentionException">No policy is set.</exception>
    public async Task<RetentionPolicyDocument> Get(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return Document(await Find(db, cancel));
    }

    /// <summary>Has servers collect by the clock from now on, in place of what they did before.</summary>
    /// <exception cref="ScheduleException">The cron expression or the time zone is not valid.</exception>
    public async Task<RetentionPolicyDocument> Put(RetentionRules rules, string cron, string timeZone, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        if (new ScheduleTimes(cron, timeZone).After(now, 1).Count == 0)
            throw new ScheduleException($"cron '{cron}' is never due. Correct it.");
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RetentionPolicy? row = await db.RetentionPolicies.SingleOrDefaultAsync(cancel);
        object? before = row is null ? null : Told(row);
        if (row is null) db.RetentionPolicies.Add(row = new RetentionPolicy());
        row.OlderThanDays = rules.OlderThan.TotalDays;
        row.KeepLast = rules.KeepLast;
        row.Cron = cron;
        row.TimeZone = timeZone;
        row.SetBy = Caller.Current.Name;
        row.ActiveSince = now;
        db.Note("gc.scheduled", "artifacts", before, Told(row));
        await db.SaveChangesAsync(cancel);
        return Document(row);
    }

    /// <exception cref="RetentionException">No policy is set.</exception>
    public async Task Remove(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RetentionPolicy row = await Find(db, cancel);
        db.Remove(row);
        db.Note("gc.unscheduled", "artifacts", Told(row));
        await db.SaveChangesAsync(cancel);
    }

    private static async Task<RetentionPolicy> Find(ArmoFlowDbContext db, CancellationToken cancel) =>
        await db.RetentionPolicies.SingleOrDefaultAsync(cancel)
            ?? throw new RetentionException("no collection is scheduled. Schedule it with: armoflow gc schedule --cron '0 3 * * 0'.",
                Refusal.Missing);

    private RetentionPolicyDocument Document(RetentionPolicy p) =>
        new(p.OlderThanDays, p.KeepLast, p.Cron, p.TimeZone, p.SetBy, p.LastAt, p.LastOutcome,
            new ScheduleTimes(p.Cron, p.TimeZone).After(time.GetUtcNow(), Preview));

    private static object Told(RetentionPolicy p) => new { p.OlderThanDays, p.KeepLast, p.Cron, p.TimeZone };
}
