using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Retention;

/// <summary>What no run is to read any more, and which models have.</summary>
public sealed class ForgettingStore(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, TimeProvider time)
{
    private const string Rated = "ratings", Paired = "preferences";

    /// <summary>What no run reads now; with what was lifted again, if that is asked for.</summary>
    public async Task<IReadOnlyList<Exclusion>> List(CancellationToken cancel, bool withLifted = false)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Exclusions.AsNoTracking().Where(e => withLifted || e.LiftedAt == null).OrderBy(e => e.Kind)
            .ThenBy(e => e.Value).ToListAsync(cancel);
    }

    /// <summary>The exclusion of something that no run reads now; null where runs do.</summary>
    public async Task<Exclusion?> Find(ExclusionKind kind, string value, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Exclusions.AsNoTracking().SingleOrDefaultAsync(e =>
            e.Kind == kind && e.Value == value && e.LiftedAt == null, cancel);
    }

    /// <exception cref="RetentionException">There is no such kind.</exception>
    public static ExclusionKind KindOf(string text) => EnumText.Find<ExclusionKind>(text)
        ?? throw new RetentionException($"'{text}': expected conversation or source, or file.");

    /// <exception cref="RetentionException">The value cannot be one of its kind.</exception>
    public static void Require(ExclusionKind kind, string value)
    {
        bool isUsable = kind == ExclusionKind.Source ? value.Length is > 0 and <= 200 : Sha256.IsOne(value);
        string expected = kind switch
        {
            ExclusionKind.Conversation => "a conversation's id, 64 lower-case hex digits as the table 'conversations' has them",
            ExclusionKind.Source => "a source's name",
            _ => "a file's sha256, 64 lower-case hex digits",
        };
        if (!isUsable) throw new RetentionException($"{kind.Text()} '{value}': expected {expected}.");
    }

    /// <summary>
    /// Keeps a conversation, a source with every file that was read under its name, or a file out of every run that is submitted from now
    /// on.
    /// </summary>
    /// <exception cref="RetentionException">The value cannot be one of its kind, or there is no reason.</exception>
    public async Task<Exclusion> Exclude(ExclusionKind kind, string value, string reason, CancellationToken cancel)
    {
        if (string.IsNullOrWhiteSpace(reason)) throw new RetentionException("forgetting needs a reason: --reason TEXT.");
        Require(kind, value);
        IReadOnlyList<UsedBy> users = await Users(kind, value, cancel);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        Exclusion exclusion = await Enter(db, kind, value, reason, origin: null, users, cancel);
        if (kind == ExclusionKind.Source)
        {
            foreach (string file in await FilesOf(db, value, cancel))
            {
                await Enter(db, ExclusionKind.File, file, reason, $"{kind.Text()}/{value}", null, cancel);
            }
        }
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
        return exclusion;
    }

    private async Task<Exclusion> Enter(ArmoFlowDbContext db, ExclusionKind kind, string value, string reason, string? origin,
        IReadOnlyList<UsedBy>? users, CancellationToken cancel)
    {
        Exclusion? known = await db.Exclusions.SingleOrDefaultAsync(e => e.Kind == kind && e.Value == value, cancel);
        if (known is { LiftedAt: null })
        {
            if (users is not null) known.Users = [.. users]; // what has been made with it since
            return known;
        }
        Exclusion exclusion = known ?? new Exclusion { Kind = kind, Value = value };
        exclusion.Reason = reason;
        exclusion.By = Caller.Current.Name;
        exclusion.At = time.GetUtcNow();
        exclusion.Origin = origin;
        exclusion.LiftedAt = null;
        exclusion.LiftedBy = null;
        exclusion.LiftedReason = null;
        if (users is not null) exclusion.Users = [.. users];
        if (known is null) db.Exclusions.Add(exclusion);
        if (origin is null) db.Note("data.forgotten", $"{kind.Text()}/{value}", after: new { reason });
        return exclusion;
    }

    /// <summary>Lets runs read it again where it still is; text that was removed does not come back.</summary>
    /// <exception cref="RetentionException">It was not forgotten, or there is no reason.</exception>
    public async Task<Exclusion> Lift(ExclusionKind kind, string value, string reason, CancellationToken cancel)
    {
        if (string.IsNullOrWhiteSpace(reason)) throw new RetentionException("lifting what was forgotten needs a reason: --reason TEXT.");
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        string origin = $"{kind.Text()}/{value}";
        List<Exclusion> lifted = await db.Exclusions.Where(e =>
            e.LiftedAt == null && ((e.Kind == kind && e.Value == value) || e.Origin == origin)).ToListAsync(cancel);
        Exclusion named = lifted.SingleOrDefault(e => e.Kind == kind && e.Value == value)
            ?? throw new RetentionException($"{kind.Text()} '{value}' is not forgotten. See: armoflow forget list.", Refusal.Missing);
        foreach (Exclusion exclusion in lifted)
        {
            exclusion.LiftedAt = time.GetUtcNow();
            exclusion.LiftedBy = Caller.Current.Name;
            exclusion.LiftedReason = reason;
        }
        db.Note("data.forgetting-lifted", origin, new { named.Reason, named.By, named.At }, new { reason });
        await db.SaveChangesAsync(cancel);
        return named;
    }

    /// <summary>Every version that was made with it, by what its run read, and by what was known when it was forgotten.</summary>
    public async Task<IReadOnlyList<UsedBy>> Users(ExclusionKind kind, string value, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<UsedBy>? known = (await db.Exclusions.AsNoTracking()
            .SingleOrDefaultAsync(e => e.Kind == kind && e.Value == value, cancel))?.Users;
        HashSet<string> files = await HashesOf(db, kind, value, cancel);
        List<UsedBy> users = [];
        Dictionary<string, bool?> tables = [];
        foreach (ModelVersion version in await db.ModelVersions.AsNoTracking()
            .OrderBy(v => v.Model)
            .ThenBy(v => v.Version)
            .ToListAsync(cancel))
        {
            RunState run = await db.Runs.AsNoTracking().SingleAsync(r => r.CorrelationId == version.RunId, cancel);
            bool? isUsed = known?.Find(u => u.RunId == run.CorrelationId) is { IsCertain: true } ? true : await Reads(run);
            if (isUsed != false) users.Add(new UsedBy(version.Model, version.Version, version.RunId, isUsed is not null));
        }
        return users;

        async Task<bool?> Reads(RunState run)
        {
            if (kind == ExclusionKind.Conversation)
                return run.Artifacts.GetValueOrDefault(ArtifactNames.Conversations) is { } table ? await Holds(table.Sha256) : false;
            if (kind == ExclusionKind.Source && run.Spec.Ratings.Concat(run.Spec.Preferences).Any(s => s.Name == value)) return true;
            return (await Read(db, run, cancel)).Any(f => files.Contains(f.Sha256));
        }

        async Task<bool?> Holds(string table)
        {
            if (tables.TryGetValue(table, out bool? known)) return known;
            try
            {
                return tables[table] = (await ParquetColumn.Distinct(await artifacts.Open(table, cancel), "id", cancel)).Contains(value);
            }
            catch (ArtifactLostException) { return tables[table] = null; }
        }
    }

    /// <summary>The files that a source or a file is; none for a conversation.</summary>
    private static async Task<HashSet<string>> HashesOf(ArmoFlowDbContext db, ExclusionKind kind, string value, CancellationToken cancel) =>
        kind switch
        {
            ExclusionKind.Source => [.. await FilesOf(db, value, cancel)],
            ExclusionKind.File => [value],
            _ => [],
        };

    /// <summary>What a run's ingestion read: files under 'kind/source/name', by hash.</summary>
    internal static async Task<IReadOnlyList<StepArtifact>> Read(ArmoFlowDbContext db, RunState run, CancellationToken cancel)
    {
        string? key = run.Steps.Find(s => s.Name == StepNames.Ingestion)?.Key;
        return key is null ? [] : await db.StepArtifacts.AsNoTracking().Where(a => a.Key == key && !a.IsOutput).ToListAsync(cancel);
    }

    /// <summary>Every file that was ever read as part of a source.</summary>
    internal static async Task<IReadOnlyList<string>> FilesOf(ArmoFlowDbContext db, string source, CancellationToken cancel)
    {
        string rated = $"{Rated}/{source}/", paired = $"{Paired}/{source}/";
        return await db.StepArtifacts.Where(a => !a.IsOutput && (a.Name.StartsWith(rated) || a.Name.StartsWith(paired)))
            .Select(a => a.Sha256).Distinct().ToListAsync(cancel);
    }

    /// <summary>The sources, by name, whose files a run read.</summary>
    internal static IEnumerable<string> SourcesOf(RunSpec spec) => spec.Ratings.Concat(spec.Preferences).Select(s => s.Name);

    /// <summary>True for a file that was read as part of a source.</summary>
    internal static bool IsOf(StepArtifact file, string source) =>
        file.Name.StartsWith($"{Rated}/{source}/", StringComparison.Ordinal)
            || file.Name.StartsWith($"{Paired}/{source}/", StringComparison.Ordinal);

    /// <summary>A spec without what is forgotten by now.</summary>
    /// <exception cref="RetentionException">Nothing would be left to read.</exception>
    public async Task<RunSpec> Apply(RunSpec spec, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await Apply(db, spec, cancel);
    }

    /// <summary>A spec that leaves out what is to be forgotten; the run keeps it, so that it can be made again.</summary>
    public static async Task<RunSpec> Apply(ArmoFlowDbContext db, RunSpec spec, CancellationToken cancel)
    {
        List<Exclusion> all = await db.Exclusions.AsNoTracking().Where(e => e.LiftedAt == null).OrderBy(e => e.Value).ToListAsync(cancel);
        if (all.Count == 0) return spec;
        HashSet<string> sources = [.. Of(ExclusionKind.Source)];
        string[] conversations = [.. Of(ExclusionKind.Conversation)], files = [.. Of(ExclusionKind.File)];
        RunSpec left = spec with
        {
            Ratings = [.. spec.Ratings.Where(s => !sources.Contains(s.Name))],
            Preferences = [.. spec.Preferences.Where(s => !sources.Contains(s.Name))],
            Forgotten = conversations.Length > 0 ? conversations : null,
            ForgottenFiles = files.Length > 0 ? files : null,
        };
        bool isEmptied = (spec.Ratings.Count > 0 && left.Ratings.Count == 0)
            || (spec.Preferences.Count > 0 && left.Preferences.Count == 0);
        if (isEmptied)
        {
            Exclusion[] why = [.. all.Where(e => e.Kind == ExclusionKind.Source && SourcesOf(spec).Contains(e.Value))];
            throw new RetentionException($"nothing is left to read: {string.Join("; ", why.Select(e => e.ToString()))}. Add another "
                + "source; or see: armoflow forget list.");
        }
        return left;

        IEnumerable<string> Of(ExclusionKind kind) => all.Where(e => e.Kind == kind).Select(e => e.Value);
    }
}
