using ArmoFlow.Persistence.Audit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Retention;

/// <summary>Legal holds.</summary>
public sealed class HoldStore(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    public async Task<IReadOnlyList<LegalHold>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.LegalHolds.AsNoTracking().OrderBy(h => h.Subject).ToListAsync(cancel);
    }

    /// <summary>Keeps a run's artifacts, or those of all versions of a model, whatever the rules say.</summary>
    /// <exception cref="RetentionException">There is no such run or model, or no reason.</exception>
    public async Task<LegalHold> Hold(string subject, string reason, CancellationToken cancel)
    {
        if (string.IsNullOrWhiteSpace(reason)) throw new RetentionException("a legal hold needs a reason: --reason TEXT.");
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        string[] parts = subject.Split('/', 2);
        bool isThere =
            parts is ["run", var run] && Guid.TryParse(run, out Guid id) ? await db.Runs.AnyAsync(r => r.CorrelationId == id, cancel)
                : parts is ["model", var model] && await db.ModelVersions.AnyAsync(v => v.Model == model, cancel);
        if (!isThere)
        {
            throw new RetentionException($"no '{subject}': expected run/ID or model/NAME. See: armoflow runs list, armoflow models list.",
                Refusal.Missing);
        }
        LegalHold? hold = await db.LegalHolds.SingleOrDefaultAsync(h => h.Subject == subject, cancel);
        if (hold is null) db.LegalHolds.Add(hold = new LegalHold { Subject = subject });
        hold.Reason = reason;
        hold.By = Caller.Current.Name;
        hold.At = time.GetUtcNow();
        db.Note("hold.put", subject, after: new { reason });
        await db.SaveChangesAsync(cancel);
        return hold;
    }

    /// <exception cref="RetentionException">It is not held.</exception>
    public async Task Release(string subject, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        LegalHold hold = await db.LegalHolds.SingleOrDefaultAsync(h => h.Subject == subject, cancel)
            ?? throw new RetentionException($"no hold on '{subject}'. See: armoflow holds list.", Refusal.Missing);
        db.Remove(hold);
        db.Note("hold.released", subject, before: new { hold.Reason });
        await db.SaveChangesAsync(cancel);
    }
}

/// <summary>What is asked of retention cannot be.</summary>
public sealed class RetentionException(string message, Refusal refusal = Refusal.Unusable) : RefusedException(message, refusal);
