using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Features;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Retention;

/// <summary>
/// Takes the rows of what is forgotten out of the tables that are kept: a table is written again without them, takes the old one's
/// place in the runs that had it, and a tombstone says so. Features that were made with it are removed; whoever needs the others makes
/// them anew.
/// </summary>
public sealed class Redaction(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, ForgettingStore store,
    TimeProvider time)
{
    private static readonly string[] Tables = [ArtifactNames.Conversations, ArtifactNames.Ratings, ArtifactNames.Preferences,
        ArtifactNames.Benchmark];
    private const string ConversationId = "conversation_id", Chosen = "chosen_id", Rejected = "rejected_id", Id = "id", Source = "source",
        Shard = "shard";

    /// <summary>The rows that go from a run's tables: those of some conversations, or of some sources.</summary>
    private sealed record Rows(RunState Run, HashSet<string> Conversations, HashSet<string> Sources);

    /// <summary>Says what would be done.</summary>
    /// <exception cref="RetentionException">There is nothing of the kind.</exception>
    public async Task<ForgetPlan> Plan(ExclusionKind kind, string value, CancellationToken cancel)
    {
        ForgettingStore.Require(kind, value);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IReadOnlyList<UsedBy> users = await store.Users(kind, value, cancel);
        IReadOnlyList<string> files = kind switch
        {
            ExclusionKind.Source => await ForgettingStore.FilesOf(db, value, cancel),
            ExclusionKind.File => [value],
            _ => [],
        };
        IReadOnlyList<Rows> affected = await Affected(db, kind, value, files, cancel);
        HashSet<string> rewritten = [];
        HashSet<string> conversations = [];
        foreach (Rows rows in affected)
        {
            rewritten.UnionWith(Tables.Where(rows.Run.Artifacts.ContainsKey).Select(t => rows.Run.Artifacts[t].Sha256));
            conversations.UnionWith(rows.Conversations);
        }
        IReadOnlyList<string> features = await FeaturesOf(db, conversations, cancel);
        List<string> datasets = await db.DatasetFiles.Where(f => files.Contains(f.Sha256))
            .Select(f => f.Sha256).Distinct().ToListAsync(cancel);
        return new ForgetPlan(kind, value, users, files, [.. rewritten.Order(StringComparer.Ordinal)],
            [.. features.Concat(datasets).Order(StringComparer.Ordinal)],
            await Stays(db, kind, users, affected, cancel), await Obstacles(db, affected, cancel));
    }

    /// <summary>
    /// Forgets: keeps it out of runs to come, and takes it out of what is kept. Done twice, it finds what has come since.
    /// </summary>
    /// <exception cref="RetentionException">A legal hold, or a run in progress, stands against it.</exception>
    public async Task<(Exclusion Exclusion, ForgetPlan Plan)> Forget(ExclusionKind kind, string value, string reason,
        CancellationToken cancel)
    {
        if (string.IsNullOrWhiteSpace(reason)) throw new RetentionException("forgetting needs a reason: --reason TEXT.");
        ForgetPlan plan = await Plan(kind, value, cancel);
        if (plan.Obstacles.Count > 0)
        {
            throw new RetentionException(
                $"{kind.Text()} {value} cannot be forgotten now: {string.Join("; ", plan.Obstacles)}.", Refusal.Conflict);
        }
        Exclusion exclusion = await store.Exclude(kind, value, reason, cancel); // first: a run that is submitted meanwhile leaves it out
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IReadOnlyList<Rows> affected = await Affected(db, kind, value, plan.Files, cancel);
        Dictionary<string, ArtifactRef> replaced = [];
        foreach (Rows rows in affected) await Rewrite(rows, replaced, cancel);
        await Enter(db, $"{kind.Text()}/{value}", $"rows were taken out: {exclusion}", replaced, plan.Removed, cancel);
        foreach (string gone in replaced.Keys.Concat(plan.Removed)) await artifacts.Delete(gone, cancel);
        await MarkRemoved([.. replaced.Keys, .. plan.Removed], cancel);
        return (exclusion, plan);
    }

    /// <summary>Ended runs whose tables hold it, with what goes from each.</summary>
    private async Task<IReadOnlyList<Rows>> Affected(ArmoFlowDbContext db, ExclusionKind kind, string value, IReadOnlyList<string> files,
        CancellationToken cancel)
    {
        List<Rows> affected = [];
        Dictionary<string, bool> holds = [];
        foreach (RunState run in await db.Runs.AsNoTracking().Where(r => RunState.Ended.Contains(r.CurrentState)).ToListAsync(cancel))
        {
            if (!run.Artifacts.TryGetValue(ArtifactNames.Conversations, out ArtifactRef? table)
                || !await artifacts.Has(table.Sha256, cancel)) continue;
            if (kind == ExclusionKind.Conversation)
            {
                if (!holds.TryGetValue(table.Sha256,
                    out bool isThere))
                {
                    holds[table.Sha256] = isThere = (await ParquetColumn.Distinct(await artifacts.Open(table.Sha256,
                        cancel), Id, cancel)).Contains(value);
                }
                if (isThere) affected.Add(new Rows(run, [value], []));
                continue;
            }
            IReadOnlyList<StepArtifact> read = await ForgettingStore.Read(db, run, cancel);
            HashSet<string> sources = [.. ForgettingStore.SourcesOf(run.Spec).Where(s =>
                (kind == ExclusionKind.Source && s == value) || read.Any(f => ForgettingStore.IsOf(f, s) && files.Contains(f.Sha256)))];
            if (sources.Count == 0) continue;
            HashSet<string> conversations = await OnlyOf(run, sources, cancel);
            if (conversations.Count > 0 || await HasRowsOf(run, sources, cancel)) affected.Add(new Rows(run, conversations, sources));
        }
        return affected;
    }

    /// <summary>Conversations that stand in a run's tables for some sources alone.</summary>
    private async Task<HashSet<string>> OnlyOf(RunState run, HashSet<string> sources, CancellationToken cancel)
    {
        HashSet<string> theirs = [], others = [];
        await foreach (string[] row in Read(run, ArtifactNames.Ratings, [ConversationId, Source], cancel))
        {
            (sources.Contains(row[1])
            ? theirs : others).Add(row[0]);
        }
        await foreach (string[] row in Read(run, ArtifactNames.Preferences, [Chosen, Rejected, Source], cancel))
        {
            (sources.Contains(row[2])
            ? theirs : others).UnionWith(row[..2]);
        }
        await foreach (string[] row in Read(run, ArtifactNames.Benchmark, [Chosen, Rejected], cancel)) others.UnionWith(row);
        theirs.ExceptWith(others);
        return theirs;
    }

    private async Task<bool> HasRowsOf(RunState run, HashSet<string> sources, CancellationToken cancel)
    {
        await foreach (string[] row in Read(run, ArtifactNames.Ratings, [Source], cancel))
            if (sources.Contains(row[0])) return true;
        await foreach (string[] row in Read(run, ArtifactNames.Preferences, [Source], cancel))
            if (sources.Contains(row[0])) return true;
        return false;
    }

    private async IAsyncEnumerable<string[]> Read(RunState run, string name, string[] columns,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        if (!run.Artifacts.TryGetValue(name, out ArtifactRef? table) || !await artifacts.Has(table.Sha256, cancel)) yield break;
        await foreach (string[] row in ParquetRows.Read(await artifacts.Open(table.Sha256, cancel), columns, cancel)) yield return row;
    }

    /// <summary>Writes a run's tables again; equal ones of several runs once.</summary>
    private async Task Rewrite(Rows rows, Dictionary<string, ArtifactRef> replaced, CancellationToken cancel)
    {
        foreach (string name in Tables)
        {
            if (!rows.Run.Artifacts.TryGetValue(name, out ArtifactRef? table) || replaced.ContainsKey(table.Sha256)
                || !await artifacts.Has(table.Sha256, cancel)) continue;
            string path = await artifacts.Open(table.Sha256, cancel);
            string beside = artifacts.NewFile();
            try
            {
                // it did not have it
                if (await ParquetRows.CopyWithout(path, beside, (texts, row) => Goes(rows, texts, row), cancel) == 0) continue;
                replaced[table.Sha256] = await artifacts.Put(target =>
                {
                    File.Move(beside, target);
                    return Task.CompletedTask;
                }, cancel);
            }
            finally { File.Delete(beside); }
        }
    }

    private static bool Goes(Rows rows, IReadOnlyDictionary<string, string[]> texts, int row)
    {
        if (texts.TryGetValue(Source, out string[]? sources) && rows.Sources.Contains(sources[row])) return true;
        foreach (string column in new[] { ConversationId, Chosen, Rejected })
            if (texts.TryGetValue(column, out string[]? ids) && rows.Conversations.Contains(ids[row])) return true;
        bool isConversation = texts.ContainsKey("messages");
        return isConversation && rows.Conversations.Contains(texts[Id][row]);
    }

    /// <summary>Shards that hold vectors of some conversations, and the tables of runs that name these shards.</summary>
    private async Task<IReadOnlyList<string>> FeaturesOf(ArmoFlowDbContext db, HashSet<string> conversations, CancellationToken cancel)
    {
        HashSet<string> shards = await FeatureIndex.ShardsOf(db, conversations, cancel);
        if (shards.Count == 0) return [];
        HashSet<string> tables = [.. (await db.Runs.AsNoTracking().ToListAsync(cancel))
            .Select(r => r.Artifacts.GetValueOrDefault(ArtifactNames.Features)?.Sha256).OfType<string>()];
        List<string> gone = [.. shards];
        foreach (string table in tables)
        {
            if (await artifacts.Has(table, cancel)
                && (await ParquetColumn.Distinct(await artifacts.Open(table, cancel), Shard, cancel)).Overlaps(shards)) gone.Add(table);
        }
        return gone;
    }

    private async Task Enter(ArmoFlowDbContext db, string subject, string why, Dictionary<string, ArtifactRef> replaced,
        IReadOnlyList<string> removed, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        List<Guid> holders = [];
        await foreach (RunState run in db.Runs.AsNoTracking().Where(r =>
            RunState.Ended.Contains(r.CurrentState)).AsAsyncEnumerable().WithCancellation(cancel))
            if (run.Artifacts.Values.Any(a => replaced.ContainsKey(a.Sha256))) holders.Add(run.CorrelationId);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        foreach (RunState run in await db.Runs.Where(r => holders.Contains(r.CorrelationId)).ToListAsync(cancel))
            // an ended run's row, which no saga writes now
            run.Artifacts = run.Artifacts.ToDictionary(a => a.Key, a => replaced.GetValueOrDefault(a.Value.Sha256, a.Value));
        foreach ((string sha256, ArtifactRef? without) in replaced.Select(r =>
            (r.Key, (ArtifactRef?)r.Value)).Concat(removed.Select(r => (r, (ArtifactRef?)null))))
        {
            Tombstone? tombstone = await db.Tombstones.SingleOrDefaultAsync(t => t.Sha256 == sha256, cancel);
            if (tombstone is null)
            {
                db.Tombstones.Add(tombstone = new Tombstone
                {
                    Sha256 = sha256,
                    Bytes = await artifacts.SizeOf(sha256, cancel) ?? 0
                });
            }
            tombstone.Why = why;
            tombstone.At = now;
            tombstone.RemovedAt = null;
            tombstone.ReplacedBy = without?.Sha256;
        }
        foreach (string[] some in removed.Chunk(500)) await FeatureIndex.Forget(db, some, cancel);
        if (replaced.Count + removed.Count > 0)
        {
            db.Note("data.redacted", subject, after: new { rewritten = replaced.ToDictionary(r => r.Key, r => r.Value.Sha256), removed });
        }
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
    }

    private async Task MarkRemoved(string[] hashes, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        foreach (Tombstone tombstone in await db.Tombstones.Where(t => hashes.Contains(t.Sha256)).ToListAsync(cancel))
            tombstone.RemovedAt = now;
        await db.SaveChangesAsync(cancel);
    }

    private static async Task<IReadOnlyList<string>> Stays(ArmoFlowDbContext db, ExclusionKind kind, IReadOnlyList<UsedBy> users,
        IReadOnlyList<Rows> affected, CancellationToken cancel)
    {
        List<string> stays = ["the files that you keep: remove it there too"];
        if (users.Count > 0)
        {
            stays.Add($"what the weights of {string.Join(", ", users.Select(u => $"{u.Model}@{u.Version}"))} learnt from it: make them "
                + "anew (--retrain)");
        }
        if (users.Any(u => !u.IsCertain)) stays.Add("of versions marked as uncertain, nobody can say any more what they read");
        if (affected.Count > 0)
        {
            stays.Add(
                "figures and reports of the runs that read it, which hold no text, and its id in the database and in the audit trail");
        }
        if (kind != ExclusionKind.Conversation) return stays;
        HashSet<string> read = [];
        foreach (Rows rows in affected) read.UnionWith((await ForgettingStore.Read(db, rows.Run, cancel)).Select(f => f.Sha256));
        foreach (var file in await db.DatasetFiles.Where(f => read.Contains(f.Sha256))
            .Select(f => new { f.Dataset, f.FileName, f.Sha256 }).ToListAsync(cancel))
        {
            stays.Add($"file {file.FileName} of data set {file.Dataset}, where it may stand: add the file again without it, and forget "
                + $"the old one (armoflow forget file {file.Sha256})");
        }
        return stays;
    }

    private static async Task<IReadOnlyList<string>> Obstacles(ArmoFlowDbContext db, IReadOnlyList<Rows> affected,
        CancellationToken cancel)
    {
        List<string> obstacles = [];
        HashSet<string> held = [.. await db.LegalHolds.Select(h => h.Subject).ToListAsync(cancel)];
        foreach (Rows rows in affected)
        {
            foreach (string subject in new[] { $"run/{rows.Run.CorrelationId}", $"model/{rows.Run.Name}" })
            {
                if (held.Remove(subject))
                    obstacles.Add($"{subject} is on legal hold and was made with it (armoflow holds release {subject})");
            }
        }
        List<Guid> working = await db.Runs.Where(r => !RunState.Ended.Contains(r.CurrentState))
            .Select(r => r.CorrelationId).ToListAsync(cancel);
        if (working.Count > 0
            && affected.Count > 0)
            obstacles.Add($"runs in progress may read it: {string.Join(", ", working)} (wait for them, or: armoflow runs cancel)");
        return obstacles;
    }
}
