using System.Runtime.CompilerServices;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Artifacts;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Steps;

/// <summary>Finished steps by key, features by conversation, settled choices: what makes reuse and resuming possible.</summary>
public sealed class StepStore(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, TimeProvider time)
{
    private const int IdsPerQuery = 500, RowsPerInsert = 200;

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
        await db.FeatureRows.Where(f => artifacts.Contains(f.Shard)).ExecuteDeleteAsync(cancel);
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

    /// <summary>
    /// Which of these ids have features in the space, and where; shards that are gone from the store, or damaged, do not count.
    /// </summary>
    public async Task<Dictionary<string, FeatureRow>> FindFeatures(string space, string kind, IEnumerable<string> ids,
        CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Dictionary<string, FeatureRow> found = new(StringComparer.Ordinal);
        Dictionary<string, bool> sound = [];
        foreach (string[] chunk in ids.Chunk(IdsPerQuery))
        {
            foreach (FeatureRow row in await db.FeatureRows.AsNoTracking()
                .Where(f => f.Space == space && f.Kind == kind && chunk.Contains(f.Id))
                .ToListAsync(cancel))
            {
                if (!sound.TryGetValue(row.Shard, out bool isSound))
                    sound[row.Shard] = isSound = await artifacts.IsSound(row.Shard, cancel: cancel);
                if (isSound) found[row.Id] = row;
            }
        }
        return found;
    }

    /// <summary>Enters a shard's rows in the caller's transaction; a shard done twice harms nothing.</summary>
    public static async Task EnterFeatures(ArmoFlowDbContext db, IReadOnlyList<FeatureRow> rows, CancellationToken cancel)
    {
        foreach (FeatureRow[] chunk in rows.Chunk(RowsPerInsert))
        {
            string values = string.Join(", ",
                Enumerable.Range(0, chunk.Length)
                    .Select(i => $"({{{5 * i}}}, {{{(5 * i) + 1}}}, {{{(5 * i) + 2}}}, {{{(5 * i) + 3}}}, {{{(5 * i) + 4}}})"));
            string insert = $"""
                insert into feature_rows (space, kind, id, shard, row) values {values}
                on conflict (space, kind, id) do update set shard = excluded.shard, row = excluded.row
                """;
            object[] parameters = [.. chunk.SelectMany(r => new object[] { r.Space, r.Kind, r.Id, r.Shard, r.Row })];
            await db.Database.ExecuteSqlAsync(FormattableStringFactory.Create(insert, parameters), cancel);
        }
    }

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
