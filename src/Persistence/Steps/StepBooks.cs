using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Artifacts;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Steps;

/// <summary>Finished steps by key, features by conversation, settled choices: what makes reuse and resuming possible.</summary>
public sealed class StepBooks(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, TimeProvider time)
{
    private const int IdsPerQuery = 500;

    /// <summary>A finished step whose outputs are all still there, or null.</summary>
    public async Task<StepResult?> Find(StepKey key, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        StepResult? result = await db.StepResults.AsNoTracking().Include(r => r.Artifacts).SingleOrDefaultAsync(r => r.Key == key.Value, cancel);
        return result is not null && result.Artifacts.Where(a => a.IsOutput).All(a => artifacts.Has(a.Sha256)) ? result : null;
    }

    /// <summary>Enters a finished step; the second of two that finish at once changes nothing.</summary>
    public async Task Enter(StepResult result, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        result.CreatedAt = time.GetUtcNow();
        foreach (StepArtifact artifact in result.Artifacts) artifact.Key = result.Key;
        if (await db.StepResults.FindAsync([result.Key], cancel) is { } stale)
        {
            // Its outputs were removed from the store, or another process finished the same work: what is there now counts.
            db.StepArtifacts.RemoveRange(db.StepArtifacts.Where(a => a.Key == stale.Key));
            db.Remove(stale);
            await db.SaveChangesAsync(cancel);
        }
        db.Add(result);
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Which of these ids have features in the space, and where; shards that are gone from the store do not count.</summary>
    public async Task<Dictionary<string, FeatureRow>> FindFeatures(string space, string kind, IEnumerable<string> ids, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Dictionary<string, FeatureRow> found = new(StringComparer.Ordinal);
        Dictionary<string, bool> present = [];
        foreach (string[] chunk in ids.Chunk(IdsPerQuery))
            foreach (FeatureRow row in await db.FeatureRows.AsNoTracking().Where(f => f.Space == space && f.Kind == kind && chunk.Contains(f.Id)).ToListAsync(cancel))
            {
                if (!present.TryGetValue(row.Shard, out bool there)) present[row.Shard] = there = artifacts.Has(row.Shard);
                if (there) found[row.Id] = row;
            }
        return found;
    }

    /// <summary>Enters a shard's rows in one transaction; rows that are there stay as they are, so a shard done twice harms nothing.</summary>
    public async Task EnterFeatures(IReadOnlyList<FeatureRow> rows, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using Microsoft.EntityFrameworkCore.Storage.IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        foreach (FeatureRow row in rows)
            await db.Database.ExecuteSqlAsync($"insert into feature_rows (space, kind, id, shard, row) values ({row.Space}, {row.Kind}, {row.Id}, {row.Shard}, {row.Row}) on conflict (space, kind, id) do update set shard = excluded.shard, row = excluded.row", cancel);
        await transaction.CommitAsync(cancel);
    }

    /// <summary>A setting's value, settled on first use.</summary>
    public async Task<string> Settle(string key, Func<string> decide, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.Settings.FindAsync([key], cancel) is { } known) return known.Value;
        string value = decide();
        db.Settings.Add(new Setting { Key = key, Value = value });
        await db.SaveChangesAsync(cancel);
        return value;
    }
}
