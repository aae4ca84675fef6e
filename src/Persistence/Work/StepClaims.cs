using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Work;

/// <summary>
/// One owner for a step's key at a time, among runs. A claim ends in the transaction that enters the step's result, or in the one
/// in which its run asks for another step, pauses or ends; the waiting runs that it returns are to be told in the same transaction.
/// </summary>
/// <remarks>
/// Why no waiting run is forgotten (StepProtocolTests goes through every interleaving): a claim locks its own run's row,
/// so that the saga's transaction, which locks it too, comes wholly before or after; and it locks the holder's claim while it
/// enters itself as waiting, so that whoever removes that claim either sees the waiting row or makes the claim free first.
/// </remarks>
public sealed class StepClaims(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    /// <summary>Claims a key for a run, in a transaction of its own.</summary>
    /// <param name="key">The step's key.</param>
    /// <param name="run">The run that needs it.</param>
    /// <param name="attempt">The asking that is answered.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task<ClaimOutcome> Take(StepKey key, Guid run, int attempt, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        ClaimOutcome outcome = await Take(db, key, run, attempt, cancel);
        await transaction.CommitAsync(cancel);
        return outcome;
    }

    /// <summary>The same in the caller's transaction.</summary>
    public static async Task<ClaimOutcome> Take(ArmoFlowDbContext db, StepKey key, Guid run, int attempt, CancellationToken cancel)
    {
        if (!await IsAtWork(db, run, attempt, isLocked: true, cancel)) return ClaimOutcome.Superseded;
        await Own(db, key, run).Where(c => !c.Holds).ExecuteDeleteAsync(cancel);
        while (true)
        {
            if (await TryInsert(db, key, run, attempt, holds: true, cancel)) return ClaimOutcome.Held;
            if (await LockedHolder(db, key, cancel) is not { } holder) continue; // it ended in between
            if (holder.RunId == run)
            {
                await Own(db, key, run).ExecuteUpdateAsync(set => set.SetProperty(c => c.Attempt, attempt), cancel);
                return ClaimOutcome.Held;
            }
            if (await IsAtWork(db, holder.RunId, holder.Attempt, isLocked: false, cancel))
            {
                await TryInsert(db, key, run, attempt, holds: false, cancel);
                return ClaimOutcome.Waits;
            }
            await Own(db, key, holder.RunId).ExecuteDeleteAsync(cancel); // its run has gone on without it
        }
    }

    /// <summary>Ends all claims on a key whose result is in the database; returns those that are to be told.</summary>
    /// <param name="db">The caller's database.</param>
    /// <param name="key">The step's key.</param>
    /// <param name="run">The run whose work it was, which hears of it anyway.</param>
    /// <param name="attempt">The asking that is answered; the run may wait by a newer one.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<IReadOnlyList<StepClaim>> Finish(ArmoFlowDbContext db, StepKey key, Guid run, int attempt,
        CancellationToken cancel)
    {
        List<StepClaim> holder = await db.StepClaims.FromSql($"delete from step_claims where key = {key.Value} and holds returning *")
            .AsNoTracking()
            .ToListAsync(cancel);
        // A statement of its own: it sees who entered itself as waiting while the first one waited for the holder's row.
        List<StepClaim> waiting =
            await db.StepClaims.FromSql($"delete from step_claims where key = {key.Value} returning *").AsNoTracking().ToListAsync(cancel);
        return [.. holder.Concat(waiting).Where(c => c.RunId != run || c.Attempt != attempt)];
    }

    /// <summary>Ends a run's claims, as it asks for another step or comes to rest; returns who waited for what it held.</summary>
    public static async Task<IReadOnlyList<StepClaim>> Release(ArmoFlowDbContext db, Guid run, CancellationToken cancel)
    {
        List<StepClaim> own =
            await db.StepClaims.FromSql($"delete from step_claims where run_id = {run} returning *").AsNoTracking().ToListAsync(cancel);
        List<StepClaim> waiting = [];
        foreach (StepClaim held in own.Where(c => c.Holds))
        {
            waiting.AddRange(await db.StepClaims.FromSql($"delete from step_claims where key = {held.Key} and not holds returning *")
                .AsNoTracking()
                .ToListAsync(cancel));
        }
        return waiting;
    }

    /// <summary>The run that does the work which a run waits for; null if it waits for none.</summary>
    public static async Task<Guid?> WaitsFor(ArmoFlowDbContext db, Guid run, CancellationToken cancel)
    {
        IQueryable<Guid> holders =
            from waiting in db.StepClaims
            join holder in db.StepClaims on waiting.Key equals holder.Key
            where waiting.RunId == run && !waiting.Holds && holder.Holds
            select holder.RunId;
        List<Guid> found = await holders.Take(1).ToListAsync(cancel);
        return found.Count > 0 ? found[0] : null;
    }

    private static IQueryable<StepClaim> Own(ArmoFlowDbContext db, StepKey key, Guid run) =>
        db.StepClaims.Where(c => c.Key == key.Value && c.RunId == run);

    /// <summary>The primary key admits a run once for a key, the index of holders one holder.</summary>
    private static async Task<bool> TryInsert(ArmoFlowDbContext db, StepKey key, Guid run, int attempt, bool holds,
        CancellationToken cancel) =>
        await db.Database.ExecuteSqlAsync(
            $"insert into step_claims (key, run_id, attempt, holds) values ({key.Value}, {run}, {attempt}, {holds}) on conflict do nothing",
            cancel) > 0;

    private static async Task<StepClaim?> LockedHolder(ArmoFlowDbContext db, StepKey key, CancellationToken cancel)
    {
        IQueryable<StepClaim> holder = db.Database.IsNpgsql()
            ? db.StepClaims.FromSql($"select * from step_claims where key = {key.Value} and holds for update")
            : db.StepClaims.Where(c => c.Key == key.Value && c.Holds);
        return (await holder.AsNoTracking().ToListAsync(cancel)).SingleOrDefault();
    }

    /// <summary>False where the run is known, and works on something else or nothing.</summary>
    private static async Task<bool> IsAtWork(ArmoFlowDbContext db, Guid run, int attempt, bool isLocked, CancellationToken cancel)
    {
        if (isLocked && db.Database.IsNpgsql())
            await db.Database.ExecuteSqlAsync($"select 1 from runs where correlation_id = {run} for share", cancel);
        var now =
            await db.Runs.Where(r => r.CorrelationId == run).Select(r => new { r.Attempt, r.CurrentState }).SingleOrDefaultAsync(cancel);
        return now is null || (now.Attempt == attempt && !RunState.AtRest.Contains(now.CurrentState));
    }
}
