using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Features;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Steps;

/// <summary>Finished steps by key, settled choices: what makes reuse and resuming possible.</summary>
public sealed class StepStore(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, TimeProvider time)
{
    /// <summary>A finished step whose outputs are all still there, each of its size; or null.</summary>
    public async Task<StepResult?> Find(StepKey key, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        StepResult? result =
            await db.StepResults.AsNoTracking().Include(r => r.Artifacts).SingleOrDefaultAsync(r => r.Key == key.Value, cancel);
        return result is not null && await IsUsable(result, cancel) ? result : null;
    }

    /// <summary>Enters a finished step in a transaction of its own, and returns the result that stands.</summary>
    public async Task<StepResult> Enter(StepResult result, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        StepResult standing = await Enter(db, result, cancel);
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
        return standing;
    }

    /// <summary>
    /// Enters a finished step with the caller's other changes. Of several that do the same step the first to enter counts, as long
    /// as its outputs are there: what others have read of it stays true.
    /// </summary>
    /// <returns>The result that stands: this one, or the one that came first.</returns>
    public async Task<StepResult> Enter(ArmoFlowDbContext db, StepResult result, CancellationToken cancel)
    {
        result.CreatedAt = time.GetUtcNow();
        foreach (StepArtifact artifact in result.Artifacts) artifact.Key = result.Key;
        await LockKey(db, result.Key, cancel);
        StepResult? standing = await db.StepResults.Include(r => r.Artifacts).SingleOrDefaultAsync(r => r.Key == result.Key, cancel);
        if (standing is null)
        {
            db.Add(result);
            return result;
        }
        if (await IsUsable(standing, cancel)) return standing;
        if (standing.HasOutputsOf(result))
        {
            standing.IsStale = false; // made anew, and the same: its lineage stands as it was entered
            return standing;
        }
        db.Remove(standing);
        await db.SaveUnbound(cancel); // the removal is the trail's; what is there from now on is, once a run records it
        db.Add(result);
        return result;
    }

    /// <summary>
    /// An artifact was found lost, or cannot be read: whatever is said to have made it is to be done anew, with the caller's other
    /// changes, and features that lie in it are extracted again.
    /// </summary>
    /// <param name="db">The caller's database.</param>
    /// <param name="artifacts">The artifact, and the table that names it where it is a shard of features.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task Distrust(ArmoFlowDbContext db, IReadOnlyCollection<string> artifacts, CancellationToken cancel)
    {
        List<string> makers =
            await db.StepArtifacts.Where(a => a.IsOutput && artifacts.Contains(a.Sha256)).Select(a => a.Key).Distinct().ToListAsync(cancel);
        foreach (StepResult maker in await db.StepResults.Where(r => makers.Contains(r.Key) && !r.IsStale).ToListAsync(cancel))
            maker.IsStale = true;
        await FeatureIndex.Forget(db, artifacts, cancel);
    }

    private async Task<bool> IsUsable(StepResult result, CancellationToken cancel)
    {
        if (result.IsStale) return false;
        foreach (StepArtifact output in result.Artifacts.Where(a => a.IsOutput))
        {
            if (await artifacts.SizeOf(output.Sha256, cancel) != output.Bytes) return false;
        }
        return true;
    }

    /// <summary>Whoever enters the same step waits until this transaction ends; SQLite admits one writer anyway.</summary>
    private static Task LockKey(ArmoFlowDbContext db, string key, CancellationToken cancel) => db.Database.IsNpgsql()
        ? db.Database.ExecuteSqlAsync($"select pg_advisory_xact_lock(hashtextextended({key}, 0))", cancel)
        : Task.CompletedTask;

    /// <summary>A setting's value, settled on first use.</summary>
    public async Task<string> Settle(string key, Func<string> decide, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.Settings.FindAsync([key], cancel) is { } known) return known.Value;
        string value = decide();
        await db.Database.ExecuteSqlAsync(
            $"insert into settings (key, value) values ({key}, {value}) on conflict (key) do nothing", cancel);
        // another's, if it came first
        return await db.Settings.AsNoTracking().Where(s => s.Key == key).Select(s => s.Value).SingleAsync(cancel);
    }

    public async Task Set(string key, string value, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.Settings.Where(s => s.Key == key).ExecuteUpdateAsync(set => set.SetProperty(s => s.Value, value), cancel);
    }

    /// <summary>What steps read, by their keys.</summary>
    public async Task<IReadOnlyList<StepArtifact>> Inputs(IReadOnlyList<string> keys, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.StepArtifacts.AsNoTracking().Where(a => !a.IsOutput && keys.Contains(a.Key)).ToListAsync(cancel);
    }
}
