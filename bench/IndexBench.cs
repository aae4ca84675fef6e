using System.Diagnostics;
using System.Security.Cryptography;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Features;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Bench;

/// <summary>What it takes to remember the features of many conversations, and to find all of them again, on SQLite.</summary>
internal static class IndexBench
{
    private const int ResponsesOfShard = 500, PromptsOfShard = 250;
    private const string Space = "0123456789abcdef0123456789abcdef";

    /// <param name="conversations">How many; half as many prompts.</param>
    public static async Task Run(int conversations)
    {
        string folder = Directory.CreateTempSubdirectory("armoflow-index-").FullName;
        try
        {
            Workspace workspace = new(folder);
            workspace.TryLock();
            await using ServiceProvider services =
                new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
            await using ArmoFlowDbContext db =
                await services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();
            await db.Database.MigrateAsync();
            await db.Database.ExecuteSqlRawAsync("pragma wal_checkpoint(truncate)");
            long empty = Bytes(folder), start = Stopwatch.GetTimestamp();
            List<FeatureKey> all = await Enter(db, services.GetRequiredService<ArtifactStore>(), conversations);
            double entering = Stopwatch.GetElapsedTime(start).TotalSeconds;
            await db.Database.ExecuteSqlRawAsync("pragma wal_checkpoint(truncate)");
            double bytes = (double)(Bytes(folder) - empty) / conversations;
            long before = GC.GetTotalMemory(forceFullCollection: true);
            start = Stopwatch.GetTimestamp();
            FeaturePlaces places = await services.GetRequiredService<FeatureIndex>().Load(Space, default);
            double loading = Stopwatch.GetElapsedTime(start).TotalSeconds;
            double memory = (double)(GC.GetTotalMemory(forceFullCollection: true) - before) / conversations;
            start = Stopwatch.GetTimestamp();
            int found = 0;
            foreach (FeatureKey key in all) if (await places.Has(FeatureKind.Response, key, default)) found++;
            double finding = Stopwatch.GetElapsedTime(start).TotalSeconds;
            Console.WriteLine($"{conversations:N0} conversations with {conversations / 2:N0} prompts, in shards of {ResponsesOfShard}");
            Console.WriteLine($"  entered in {entering:f1} s (with the shards, which are small here)");
            Console.WriteLine($"  {bytes:f0} bytes of the database for each conversation, "
                + $"{memory:f0} bytes of memory while a step looks them up");
            Console.WriteLine($"  loaded in {loading:f2} s; {found:N0} found in {finding:f2} s");
        }
        finally { Directory.Delete(folder, recursive: true); }
    }

    private static async Task<List<FeatureKey>> Enter(ArmoFlowDbContext db, ArtifactStore artifacts, int conversations)
    {
        List<FeatureKey> all = [];
        for (int shard = 0; all.Count < conversations; shard++)
        {
            FeatureKey[] responses = Keys(Math.Min(ResponsesOfShard, conversations - all.Count)), prompts = Keys(PromptsOfShard);
            all.AddRange(responses);
            await FeatureIndex.Enter(db, FeatureShard.Of(Space, (await artifacts.PutText($"{shard}")).Sha256, responses, prompts), default);
        }
        return all;
    }

    private static FeatureKey[] Keys(int count) => [.. Enumerable.Range(0, count)
        .Select(_ => FeatureKey.Of(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(SHA256.HashSizeInBytes))))];

    /// <summary>Of the database's files.</summary>
    private static long Bytes(string folder) =>
        Directory.EnumerateFiles(folder, "*.db*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length);
}
