using ArmoFlow.Persistence.Artifacts;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Features;

/// <summary>
/// Which features there are, by content, and in which shard each lies: what was extracted once is found by every later run.
/// </summary>
public sealed class FeatureIndex(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts)
{
    private const string OldResponse = "r";

    /// <summary>All of a space.</summary>
    /// <param name="space">Backbone, template, dtype and limit.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task<FeaturePlaces> Load(string space, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<FeatureShard> shards = db.FeatureShards.AsNoTracking().Where(s => s.Space == space);
        IQueryable<FeatureRow> rows = db.FeatureRows.AsNoTracking().Where(f => f.Space == space);
        long responses = await shards.SumAsync(s => (long)s.Responses.Length, cancel) / FeatureKey.Size;
        long prompts = await shards.SumAsync(s => (long)s.Prompts.Length, cancel) / FeatureKey.Size;
        FeaturePlaces places = new(artifacts, (int)responses, (int)prompts);
        await foreach (FeatureShard shard in shards.AsAsyncEnumerable().WithCancellation(cancel))
        {
            foreach ((int row, FeatureKey key) in FeatureKey.Unpack(shard.Responses).Index())
                places.Add(FeatureKind.Response, key, shard.Sha256, row);
            foreach ((int row, FeatureKey key) in FeatureKey.Unpack(shard.Prompts).Index())
                places.Add(FeatureKind.Prompt, key, shard.Sha256, row);
        }
        await foreach (FeatureRow old in rows.AsAsyncEnumerable().WithCancellation(cancel))
        {
            FeatureKind kind = old.Kind == OldResponse ? FeatureKind.Response : FeatureKind.Prompt;
            places.Add(kind, FeatureKey.Of(old.Id), old.Shard, old.Row);
        }
        places.Sort();
        return places;
    }

    /// <summary>Enters a shard in the caller's transaction; one that is done twice harms nothing.</summary>
    public static Task Enter(ArmoFlowDbContext db, FeatureShard shard, CancellationToken cancel) => db.Database.ExecuteSqlAsync(
        $"""
        insert into feature_shards (space, sha256, keys_digest, responses, prompts)
        values ({shard.Space}, {shard.Sha256}, {shard.KeysDigest}, {shard.Responses}, {shard.Prompts})
        on conflict (space, sha256, keys_digest) do nothing
        """, cancel);

    /// <summary>Strikes out shards that are gone: they would be looked for in vain.</summary>
    public static async Task Forget(ArmoFlowDbContext db, IReadOnlyCollection<string> shards, CancellationToken cancel)
    {
        await db.FeatureShards.Where(s => shards.Contains(s.Sha256)).ExecuteDeleteAsync(cancel);
        await db.FeatureRows.Where(f => shards.Contains(f.Shard)).ExecuteDeleteAsync(cancel);
    }

    /// <summary>All shards, of whatever space.</summary>
    public static async Task<HashSet<string>> Shards(ArmoFlowDbContext db, CancellationToken cancel) =>
    [
        .. await db.FeatureShards.Select(s => s.Sha256).Distinct().ToListAsync(cancel),
        .. await db.FeatureRows.Select(f => f.Shard).Distinct().ToListAsync(cancel),
    ];

    /// <summary>Shards that hold features of some conversations, whatever blanks these have.</summary>
    /// <param name="db">The caller's database.</param>
    /// <param name="conversations">Their ids.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<HashSet<string>> ShardsOf(
        ArmoFlowDbContext db, IReadOnlyCollection<string> conversations, CancellationToken cancel)
    {
        HashSet<string> found = [];
        HashSet<ulong> wanted = [.. conversations.Select(id => FeatureKey.Of(id).Conversation)];
        await foreach (FeatureShard shard in db.FeatureShards.AsNoTracking().AsAsyncEnumerable().WithCancellation(cancel))
        {
            IEnumerable<FeatureKey> keys = FeatureKey.Unpack(shard.Responses).Concat(FeatureKey.Unpack(shard.Prompts));
            if (keys.Any(key => wanted.Contains(key.Conversation))) found.Add(shard.Sha256);
        }
        await foreach (var row in db.FeatureRows.Select(f => new { f.Id, f.Shard }).AsAsyncEnumerable().WithCancellation(cancel))
            if (wanted.Contains(FeatureKey.Of(row.Id).Conversation)) found.Add(row.Shard);
        return found;
    }
}
