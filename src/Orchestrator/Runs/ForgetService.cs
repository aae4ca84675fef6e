using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>Keeps conversations and sources out of runs, and has the models that used them made anew.</summary>
public sealed class ForgetService(Redaction redaction, RunService runs, OutboxSignal signal, IDbContextFactory<ArmoFlowDbContext> contexts)
{
    /// <param name="kind">What kind of thing.</param>
    /// <param name="value">Its id or name.</param>
    /// <param name="reason">Why.</param>
    /// <param name="retrain">True to submit, for each model that used it, the newest such version's spec again.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="RetentionException">There is nothing of the kind, or no reason.</exception>
    public async Task<Forgetting> Forget(ExclusionKind kind, string value, string reason, bool retrain, CancellationToken cancel)
    {
        (Exclusion exclusion, ForgetPlan plan) = await redaction.Forget(kind, value, reason, cancel);
        IReadOnlyList<UsedBy> users = plan.UsedBy;
        List<Guid> retrains = [];
        if (retrain && users.Any(u => u.IsCertain))
        {
            await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
            await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
            foreach (UsedBy newest in users.Where(u => u.IsCertain).GroupBy(u => u.Model).Select(g => g.MaxBy(u => u.Version)!))
            {
                RunState run = await db.Runs.AsNoTracking().SingleAsync(r => r.CorrelationId == newest.RunId, cancel);
                retrains.Add(await runs.Submit(db, run.Spec, $"forget {kind.Text()} {value}", cancel));
            }
            await transaction.CommitAsync(cancel);
            signal.Raise(); // what is sent is there to be seen only now
        }
        return new Forgetting(exclusion.ToDocument(), users, retrains, plan);
    }
}
