using ArmoFlow.Persistence.Audit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Retention;

/// <summary>The row that says when servers collect.</summary>
public sealed class RetentionPolicyStore(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    /// <summary>The policy; null where none is set.</summary>
    public async Task<RetentionPolicy?> Find(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.RetentionPolicies.AsNoTracking().SingleOrDefaultAsync(cancel);
    }

    /// <exception cref="RetentionException">No policy is set.</exception>
    public async Task<RetentionPolicy> Get(CancellationToken cancel) => await Find(cancel) ?? throw None();

    /// <summary>Sets the policy, in place of the one there is.</summary>
    public async Task<RetentionPolicy> Put(Action<RetentionPolicy> set, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RetentionPolicy? row = await db.RetentionPolicies.SingleOrDefaultAsync(cancel);
        object? before = row is null ? null : Told(row);
        if (row is null) db.RetentionPolicies.Add(row = new RetentionPolicy());
        set(row);
        db.Note("gc.scheduled", "artifacts", before, Told(row));
        await db.SaveChangesAsync(cancel);
        return row;
    }

    /// <exception cref="RetentionException">No policy is set.</exception>
    public async Task Remove(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RetentionPolicy row = await db.RetentionPolicies.SingleOrDefaultAsync(cancel) ?? throw None();
        db.Remove(row);
        db.Note("gc.unscheduled", "artifacts", Told(row));
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Takes the turn to collect; false where another did.</summary>
    public async Task<bool> TakeTurn(RetentionPolicy policy, DateTimeOffset now, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        int taken = await db.RetentionPolicies.Where(p => p.LastAt == policy.LastAt)
            .ExecuteUpdateAsync(set => set.SetProperty(p => p.LastAt, now).SetProperty(p => p.LastOutcome, "in progress"), cancel);
        return taken > 0;
    }

    /// <summary>Enters what became of the collection of a time.</summary>
    public async Task SetOutcome(DateTimeOffset at, string outcome, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.RetentionPolicies.Where(p => p.LastAt == at)
            .ExecuteUpdateAsync(set => set.SetProperty(p => p.LastOutcome, outcome), cancel);
    }

    /// <summary>Enters since when the policy holds, which was entered while the clock was ahead.</summary>
    public async Task MendActiveSince(RetentionPolicy policy, DateTimeOffset now, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RetentionPolicy row = await db.RetentionPolicies.SingleAsync(cancel);
        db.Note("clock.mended", "artifacts", new { policy.ActiveSince }, new { activeSince = now });
        row.ActiveSince = now;
        await db.SaveChangesAsync(cancel);
    }

    private static RetentionException None() =>
        new("no collection is scheduled. Schedule it with: armoflow gc schedule --cron '0 3 * * 0'.", Refusal.Missing);

    private static object Told(RetentionPolicy p) => new { p.OlderThanDays, p.KeepLast, p.Cron, p.TimeZone };
}
