using System.Runtime.CompilerServices;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Artifacts;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Steps;

/// <summary>Finished steps by key, features by conversation, settled choices: what makes reuse and resuming possible.</summary>
public sealed class StepBooks(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, TimeProvider time)
{
    private const int IdsPerQuery = 500, RowsPerInsert = 200;

    /// <summary>A finished step whose outputs are all still there, or null.</summary>
    public async Task<StepResult?> Find(StepKey key, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        StepResult? result = await db.StepResults.AsNoTracking().Include(r => r.Artifacts).SingleOrDefaultAsync(r => r.Key == key.Value, cancel);
        if (result is null) return null;
        foreach (StepArtifact output in result.Artifacts.Where(a => a.IsOutput))
            if (!await artifacts.Has(output.Sha256, cancel)) return null;
        return result;
    }

    /// <summary>Enters a finished step in a transaction of its own.</summary>
    public async Task Enter(StepResult result, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await Enter(db, result, cancel);
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Enters a finished step with the caller's other changes; the second of two that finish at once changes nothing.</summary>
    public async Task Enter(ArmoFlowDbContext db, StepResult result, CancellationToken cancel)
    {
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
                if (!present.TryGetValue(row.Shard, out bool there)) present[row.Shard] = there = await artifacts.Has(row.Shard, cancel);
                if (there) found[row.Id] = row;
            }
        return found;
    }

    /// <summary>Enters a shard's rows in the caller's transaction; a shard done twice harms nothing.</summary>
    public static async Task EnterFeatures(ArmoFlowDbContext db, IReadOnlyList<FeatureRow> rows, CancellationToken cancel)
    {
        foreach (FeatureRow[] chunk in rows.Chunk(RowsPerInsert))
        {
            string values = string.Join(", ", Enumerable.Range(0, chunk.Length).Select(i => $"({{{5 * i}}}, {{{(5 * i) + 1}}}, {{{(5 * i) + 2}}}, {{{(5 * i) + 3}}}, {{{(5 * i) + 4}}})"));
            await db.Database.ExecuteSqlAsync(FormattableStringFactory.Create($"insert into feature_rows (space, kind, id, shard, row) values {values} on conflict (space, kind, id) do update set shard = excluded.shard, row = excluded.row",
                [.. chunk.SelectMany(r => new object[] { r.Space, r.Kind, r.Id, r.Shard, r.Row })]), cancel);
        }
    }

    /// <summary>A setting's value, settled on first use.</summary>
    public async Task<string> Settle(string key, Func<string> decide, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.Settings.FindAsync([key], cancel) is { } known) return known.Value;
        string value = decide();
        await db.Database.ExecuteSqlAsync($"insert into settings (key, value) values ({key}, {value}) on conflict (key) do nothing", cancel);
        return await db.Settings.AsNoTracking().Where(s => s.Key == key).Select(s => s.Value).SingleAsync(cancel); // another's, if it came first
    }

    public async Task Set(string key, string value, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.Settings.Where(s => s.Key == key).ExecuteUpdateAsync(set => set.SetProperty(s => s.Value, value), cancel);
    }
}
