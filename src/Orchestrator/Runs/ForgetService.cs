using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>Keeps conversations and sources out of runs, and has the models that used them made anew.</summary>
public sealed class ForgetService(Redaction redaction, RunService runs, RunStore states, UnitsOfWork units)
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
            await using UnitOfWork unit = await units.Begin(cancel);
            foreach (UsedBy newest in users.Where(u => u.IsCertain).GroupBy(u => u.Model).Select(g => g.MaxBy(u => u.Version)!))
            {
                RunState run = (await states.Find(newest.RunId, cancel))!;
                retrains.Add(await runs.Submit(unit, run.Spec, $"forget {kind.Text()} {value}", cancel));
            }
            await unit.Commit(cancel);
        }
        return new Forgetting(exclusion.ToDocument(), users, retrains, plan);
    }
}
