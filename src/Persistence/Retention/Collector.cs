using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Features;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Retention;

/// <summary>What is kept besides what must be.</summary>
/// <param name="OlderThan">Runs that ended since are kept.</param>
/// <param name="KeepLast">So many newest versions of each model are kept.</param>
public sealed record RetentionRules(TimeSpan OlderThan, int KeepLast);

/// <summary>
/// Removes artifacts that nothing kept refers to. What is kept: runs in progress, recent runs, those behind the newest versions
/// of a model and behind every version that an alias ever meant (an auditor may ask for them), evaluations of these, runs and
/// models on legal hold, and every file of a data set. Rows stay; a tombstone says that the bytes are gone on purpose.
/// </summary>
public sealed class Collector(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    ArtifactStore artifacts,
    ScratchSpace scratch,
    TimeProvider time)
{
    private const int Batch = 200;
    private static readonly TimeSpan KeysKept = TimeSpan.FromDays(7); // of submissions; nobody asks again after so long
    private const string FeatureShard = "features that no kept run reads";

    /// <param name="rules">What is kept besides what must be.</param>
    /// <param name="dryRun">True to say only what would go.</param>
    /// <param name="cancel">Gives up between two batches.</param>
    public async Task<Collection> Collect(RetentionRules rules, bool dryRun, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow(), before = now - rules.OlderThan;
        if (!dryRun) scratch.SpendReserveIfFull();
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Dictionary<Guid, string> keptRuns = await KeptRuns(db, rules, before, cancel);
        (HashSet<string> kept, Dictionary<string, string> candidates) = await Mark(db, keptRuns, before, cancel);
        List<Collected> goes = [];
        foreach ((string sha256, string why) in candidates.Where(c => !kept.Contains(c.Key)))
            if (await artifacts.SizeOf(sha256, cancel) is { } bytes) goes.Add(new Collected(sha256, bytes, why));
        if (!dryRun)
        {
            await FinishEarlier(db, kept, cancel);
            await ForgetKeys(db, now - KeysKept, cancel);
            foreach (Collected[] batch in goes.Chunk(Batch)) await Remove(batch, now, cancel);
        }
        return new Collection(dryRun, goes, goes.Sum(g => g.Bytes), keptRuns.Count,
            keptRuns.Values.GroupBy(why => why).ToDictionary(g => g.Key, g => g.Count()));
    }

    /// <summary>What must stay, and what may go with the reason; what is in both stays.</summary>
    private async Task<(HashSet<string> Kept, Dictionary<string, string> Candidates)> Mark(ArmoFlowDbContext db,
        Dictionary<Guid, string> keptRuns, DateTimeOffset before, CancellationToken cancel)
    {
        HashSet<string> kept =
        [
            .. await db.DatasetFiles.Select(f => f.Sha256).ToListAsync(cancel),
            .. await db.StepLogs.Where(l => l.Sha256 != null && (l.EndedAt == null || l.EndedAt >= before))
                .Select(l => l.Sha256!)
                .ToListAsync(cancel)
        ];
        Dictionary<string, string> candidates = [];
        List<string> featureTables = [];
        await foreach (RunState run in db.Runs.AsNoTracking().AsAsyncEnumerable().WithCancellation(cancel))
        {
            if (!keptRuns.ContainsKey(run.CorrelationId))
            {
                foreach (ArtifactRef artifact in run.Artifacts.Values)
                    candidates.TryAdd(artifact.Sha256, $"of run {run.CorrelationId} ({run.Name}), which ended {run.EndedAt:yyyy-MM-dd}");
                continue;
            }
            kept.UnionWith(run.Artifacts.Values.Select(a => a.Sha256));
            if (run.Artifacts.TryGetValue(ArtifactNames.Features, out ArtifactRef? table)) featureTables.Add(table.Sha256);
        }
        await MarkLogs(db, keptRuns, before, kept, candidates, cancel);
        // a run that begins may reuse these
        kept.UnionWith(await db.StepArtifacts.Where(a => db.StepResults.Any(r => r.Key == a.Key && r.CreatedAt >= before))
            .Select(a => a.Sha256)
            .ToListAsync(cancel));
        await MarkShards(db, featureTables, candidates, cancel);
        return (kept, candidates);
    }

    private static async Task MarkLogs(ArmoFlowDbContext db, Dictionary<Guid, string> keptRuns, DateTimeOffset before,
        HashSet<string> kept, Dictionary<string, string> candidates, CancellationToken cancel)
    {
        await foreach (var log in db.StepLogs.Where(l => l.Sha256 != null && l.EndedAt < before)
            .Select(l => new { l.RunId, l.Sha256 })
            .AsAsyncEnumerable()
            .WithCancellation(cancel))
        {
            if (keptRuns.ContainsKey(log.RunId)) kept.Add(log.Sha256!);
            else candidates.TryAdd(log.Sha256!, $"log of run {log.RunId}");
        }
    }

    /// <summary>Shards of features that no kept table names.</summary>
    private async Task MarkShards(ArmoFlowDbContext db, List<string> featureTables, Dictionary<string, string> candidates,
        CancellationToken cancel)
    {
        HashSet<string> buried = [.. await db.Tombstones.Where(t => t.RemovedAt != null).Select(t => t.Sha256).ToListAsync(cancel)];
        featureTables.RemoveAll(buried.Contains); // removed on purpose: they name nothing any more
        // shards of a run in progress are in no table yet
        if (await ShardsOf(featureTables, cancel) is { } read
            && !await db.Runs.AnyAsync(r => !RunState.Ended.Contains(r.CurrentState), cancel))
        {
            foreach (string shard in await FeatureIndex.Shards(db, cancel))
                if (!read.Contains(shard)) candidates.TryAdd(shard, FeatureShard);
        }
    }

    /// <summary>Runs whose artifacts stay, and why.</summary>
    private static async Task<Dictionary<Guid, string>> KeptRuns(ArmoFlowDbContext db, RetentionRules rules, DateTimeOffset before,
        CancellationToken cancel)
    {
        Dictionary<Guid, string> kept = [];
        HashSet<string> held = [.. await db.LegalHolds.Select(h => h.Subject).ToListAsync(cancel)];
        foreach (var run in await db.Runs.Where(r => !RunState.Ended.Contains(r.CurrentState) || r.EndedAt == null || r.EndedAt >= before)
            .Select(r => new { r.CorrelationId, r.CurrentState })
            .ToListAsync(cancel))
            kept.TryAdd(run.CorrelationId, RunState.Ended.Contains(run.CurrentState) ? "recent" : "in progress");
        HashSet<(string, int)> aliased =
            [.. (await db.AliasPeriods.Select(p => new { p.Model, p.Version }).Distinct().ToListAsync(cancel)).Select(p => (p.Model,
                p.Version))];
        HashSet<(string, int)> keptVersions = KeepVersions(await db.ModelVersions.AsNoTracking().ToListAsync(cancel));
        foreach (var evaluation in await db.ModelEvaluations.Select(e => new { e.RunId, e.Model, e.Version }).ToListAsync(cancel))
        {
            if (keptVersions.Contains((evaluation.Model, evaluation.Version)))
                kept.TryAdd(evaluation.RunId, "evaluation of a kept version");
        }
        foreach (string subject in held)
        {
            if (subject.StartsWith("run/", StringComparison.Ordinal) && Guid.TryParse(subject["run/".Length..], out Guid id))
                kept[id] = "legal hold";
        }
        return kept;

        HashSet<(string, int)> KeepVersions(List<ModelVersion> versions)
        {
            HashSet<(string, int)> which = [];
            foreach ((ModelVersion version, int rank) in versions.GroupBy(v => v.Model)
                .SelectMany(m => m.OrderByDescending(v => v.Version).Select((v, i) => (v, i))))
            {
                if (WhyKept(version, rank, held, aliased, rules) is not { } why) continue;
                kept.TryAdd(version.RunId, why);
                which.Add((version.Model, version.Version));
            }
            return which;
        }
    }

    private static string? WhyKept(ModelVersion version, int rank, HashSet<string> held, HashSet<(string, int)> aliased,
        RetentionRules rules)
    {
        if (held.Contains($"model/{version.Model}")) return "legal hold";
        if (aliased.Contains((version.Model, version.Version))) return "an alias meant it";
        return rank < rules.KeepLast ? "newest versions" : null;
    }

    /// <summary>The shards that feature tables name; null where one of the tables cannot be read, and so nobody knows.</summary>
    private async Task<HashSet<string>?> ShardsOf(IEnumerable<string> tables, CancellationToken cancel)
    {
        HashSet<string> shards = [];
        try
        {
            foreach (string table in tables.Distinct())
                shards.UnionWith(await ParquetColumn.Distinct(await artifacts.Open(table, cancel), "shard", cancel));
            return shards;
        }
        catch (ArtifactLostException) { return null; }
    }

    /// <summary>Tombstones first, then the bytes: cut short in between, the next collection goes on with them.</summary>
    private async Task Remove(Collected[] marked, DateTimeOffset markedAt, CancellationToken cancel)
    {
        Collected[] batch;
        string[] hashes;
        await using (ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel))
        {
            // What a run has come to refer to since it was marked, by reusing a step, stays.
            HashSet<string> since = [.. (await db.Runs.AsNoTracking()
                .Where(r => !RunState.Ended.Contains(r.CurrentState) || r.EndedAt >= markedAt)
                .ToListAsync(cancel))
                .SelectMany(r => r.Artifacts.Values)
                .Select(a => a.Sha256)];
            batch = [.. marked.Where(m => !since.Contains(m.Sha256))];
            hashes = [.. batch.Select(b => b.Sha256)];
            await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
            HashSet<string> buried =
                [.. await db.Tombstones.Where(t => hashes.Contains(t.Sha256)).Select(t => t.Sha256).ToListAsync(cancel)];
            db.Tombstones.AddRange(batch.Where(b => !buried.Contains(b.Sha256))
                .Select(b => new Tombstone { Sha256 = b.Sha256, Bytes = b.Bytes, Why = b.Why, At = time.GetUtcNow() }));
            await FeatureIndex.Forget(db, hashes, cancel);
            db.Note("gc.collected", "artifacts", after: new { count = batch.Length, bytes = batch.Sum(b => b.Bytes), sha256 = hashes });
            await db.SaveChangesAsync(cancel);
            await transaction.CommitAsync(cancel);
        }
        await Delete(hashes, cancel);
    }

    private async Task FinishEarlier(ArmoFlowDbContext db, HashSet<string> kept, CancellationToken cancel)
    {
        // What was made anew since, for a run that is kept, is no longer gone.
        List<Tombstone> open = await db.Tombstones.AsNoTracking().Where(t => t.RemovedAt == null).ToListAsync(cancel);
        foreach (string[] hashes in open.Where(t => !kept.Contains(t.Sha256)).Select(t => t.Sha256).Chunk(Batch))
            await Delete(hashes, cancel);
        List<string> anew = [];
        foreach (Tombstone tombstone in await db.Tombstones.AsNoTracking().ToListAsync(cancel))
            if (kept.Contains(tombstone.Sha256) && await artifacts.Has(tombstone.Sha256, cancel)) anew.Add(tombstone.Sha256);
        foreach (string[] hashes in anew.Chunk(Batch))
        {
            db.Tombstones.RemoveRange(await db.Tombstones.Where(t => hashes.Contains(t.Sha256)).ToListAsync(cancel));
            await db.SaveChangesAsync(cancel);
        }
    }

    private static async Task ForgetKeys(ArmoFlowDbContext db, DateTimeOffset before, CancellationToken cancel)
    {
        while (await db.SubmissionKeys.Where(s => s.At < before).Take(Batch).ToListAsync(cancel) is { Count: > 0 } old)
        {
            db.SubmissionKeys.RemoveRange(old);
            await db.SaveChangesAsync(cancel);
        }
    }

    private async Task Delete(string[] hashes, CancellationToken cancel)
    {
        foreach (string sha256 in hashes) await artifacts.Delete(sha256, cancel);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        DateTimeOffset now = time.GetUtcNow();
        foreach (Tombstone tombstone in await db.Tombstones.Where(t => hashes.Contains(t.Sha256))
            .ToListAsync(cancel)) tombstone.RemovedAt = now;
        await db.SaveChangesAsync(cancel);
    }
}
