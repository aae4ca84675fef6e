using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Alerts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Models;

/// <summary>Names, versions and aliases of models.</summary>
public sealed class ModelRegistry(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    public const string Champion = "champion";
    private const string Promoted = "model.promoted", Forced = "model.forced", RolledBack = "model.rolled-back";

    /// <summary>The artifacts that scoring with a version needs.</summary>
    public static readonly IReadOnlyList<string> Parts = [ArtifactNames.Regression, ArtifactNames.Decorrelation, ArtifactNames.Gating,
        ArtifactNames.FeaturesReport];

    /// <summary>Enters what a completed run made, in the transaction that completes it; once for equal bytes.</summary>
    /// <returns>True where a rule is to be held against the version: that of its spec, or of the model's policy.</returns>
    public static async Task<bool> Enter(ArmoFlowDbContext db, RunState run, DateTimeOffset now, CancellationToken cancel)
    {
        if (!Parts.All(run.Artifacts.ContainsKey)) return false; // nothing to score with
        string digest = DigestOf(run);
        PolicySpec? policy = (await PolicyStore.Current(db, run.Name, cancel))?.Policy;
        if (await db.ModelVersions.SingleOrDefaultAsync(v =>
            v.Model == run.Name && v.Digest == digest, cancel) is { } known) return await AddGates(db, known, run, policy, cancel);
        // another run's at the same time collides, and its message is tried again
        int newest = await db.ModelVersions.Where(v => v.Model == run.Name).MaxAsync(v => (int?)v.Version, cancel) ?? 0;
        ModelVersion version = new()
        {
            Model = run.Name,
            Version = newest + 1,
            RunId = run.CorrelationId,
            Digest = digest,
            CreatedAt = now,
            Tags = [.. run.Tags],
            AwaitsAlias = RuleFor(policy, run.Spec.Promotion),
        };
        db.ModelVersions.Add(version);
        db.Note("model.version", $"model/{run.Name}", after: new { version = newest + 1, run = run.CorrelationId, digest });
        return version.AwaitsAlias is not null;
    }

    /// <summary>
    /// A spec that makes the bytes of a version which is there adds its gates to the version's: they are held against it from now on,
    /// and so is a rule of the spec, unless the alias has meant the version before.
    /// </summary>
    private static async Task<bool> AddGates(ArmoFlowDbContext db, ModelVersion version, RunState run, PolicySpec? policy,
        CancellationToken cancel)
    {
        if (run.CorrelationId == version.RunId || run.Spec.Promotion is null) return false;
        PromotionSpec? before = version.Gates
            ?? await db.Runs.Where(r => r.CorrelationId == version.RunId).Select(r =>
            r.Spec).SingleOrDefaultAsync(cancel) switch
            { { } spec => spec.Promotion, null => null };
        PromotionSpec after = PromotionSpec.Stricter(before, run.Spec.Promotion)!;
        if (JsonSerializer.Serialize(before) == JsonSerializer.Serialize(after)) return false;
        version.Gates = after;
        db.Note("model.gates-added", $"model/{version.Model}", new { version = version.Version, gates = before },
            new { version = version.Version, gates = after, run = run.CorrelationId });
        if (RuleFor(policy, after) is not { } alias
            || await db.AliasPeriods.AnyAsync(p =>
            p.Model == version.Model && p.Alias == alias && p.Version == version.Version, cancel)) return false;
        version.AwaitsAlias = alias;
        return true;
    }

    /// <summary>A spec's rule that the policy has no room for is looked at too, so that somebody hears of it.</summary>
    private static string? RuleFor(PolicySpec? policy, PromotionSpec? spec) => PolicySpec.RuleOf(policy, spec) ?? spec?.Automatic;

    private static string DigestOf(RunState run) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', Parts.Select(p => run.Artifacts[p].Sha256)))));

    /// <summary>The version that a run made, or made again; null for none.</summary>
    public async Task<ModelVersion?> MadeBy(Guid run, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.CorrelationId == run, cancel) is not { IsEvaluation: false } state
            || !Parts.All(state.Artifacts.ContainsKey)) return null;
        string digest = DigestOf(state);
        return await db.ModelVersions.AsNoTracking().SingleOrDefaultAsync(v => v.Model == state.Name && v.Digest == digest, cancel);
    }

    public async Task<IReadOnlyList<ModelSummary>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        var models = await db.ModelVersions.GroupBy(v => v.Model)
            .Select(g => new { Model = g.Key, Versions = g.Count(), Newest = g.Max(v => v.Version), At = g.Max(v => v.CreatedAt) })
            .OrderBy(m => m.Model)
            .ToListAsync(cancel);
        ILookup<string, AliasPeriod> aliases = (await db.AliasPeriods.AsNoTracking()
            .Where(p => p.KnownUntil == null && p.ValidUntil == null)
            .ToListAsync(cancel)).ToLookup(p => p.Model);
        return [.. models.Select(m => new ModelSummary(m.Model, m.Versions, m.Newest, m.At,
            aliases[m.Model].ToDictionary(a => a.Alias, a => a.Version)))];
    }

    /// <summary>All versions of a name, newest first.</summary>
    public async Task<IReadOnlyList<ModelVersion>> Versions(string model, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ModelVersions.AsNoTracking().Where(v => v.Model == model).OrderByDescending(v => v.Version).ToListAsync(cancel);
    }

    /// <summary>What a reference means now: NAME (its champion, else its newest version), NAME@ALIAS or NAME@VERSION.</summary>
    /// <exception cref="RegistryException">There is no such model, alias or version.</exception>
    public async Task<ModelVersion> Resolve(string reference, CancellationToken cancel)
    {
        string[] parts = reference.Split('@', 2);
        IReadOnlyList<ModelVersion> versions = await Versions(parts[0], cancel);
        if (versions.Count == 0) throw new RegistryException($"no model '{parts[0]}'. See: armoflow models list.", Refusal.Missing);
        if (parts.Length == 2 && int.TryParse(parts[1].TrimStart('v'), out int number))
        {
            return versions.FirstOrDefault(v => v.Version == number)
                ?? throw new RegistryException($"model '{parts[0]}' has no version {number}; its newest is {versions[0].Version}. See: "
                    + $"armoflow models show {parts[0]}.",
                    Refusal.Missing);
        }
        AliasPeriod? period = await Current(parts[0], parts.Length == 2 ? parts[1] : Champion, cancel);
        if (period is null && parts.Length == 2)
        {
            throw new RegistryException($"model '{parts[0]}' has no alias '{parts[1]}'. See: armoflow models show {parts[0]}.",
                Refusal.Missing);
        }
        return period is null ? versions[0] : versions.Single(v => v.Version == period.Version);
    }

    /// <summary>What an alias means now: the open period, whatever a clock says; null if it means nothing.</summary>
    public async Task<AliasPeriod?> Current(string model, string alias, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<AliasPeriod> open = db.AliasPeriods.AsNoTracking().Where(p => p.ValidUntil == null && p.KnownUntil == null);
        return await open.SingleOrDefaultAsync(p => p.Model == model && p.Alias == alias, cancel);
    }

    /// <summary>What an alias meant at a time, as it was known at another (now, if that is left out); null if it meant nothing.</summary>
    public async Task<AliasPeriod?> At(string model, string alias, DateTimeOffset at, DateTimeOffset? known, CancellationToken cancel)
    {
        (DateTimeOffset when, DateTimeOffset knew) = (at.ToUniversalTime(), (known ?? time.GetUtcNow()).ToUniversalTime());
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        AliasPeriod? period = await db.AliasPeriods.AsNoTracking().Where(p => p.Model == model && p.Alias == alias && p.ValidFrom <= when
            && (p.ValidUntil == null || p.ValidUntil > when) && p.KnownFrom <= knew && (p.KnownUntil == null || p.KnownUntil > knew))
            .OrderByDescending(p => p.Id).FirstOrDefaultAsync(cancel);
        if (period is not null) await Prove(db, [period], cancel);
        return period;
    }

    /// <summary>All that was ever known of a model's aliases, newest first.</summary>
    public async Task<IReadOnlyList<AliasPeriod>> History(string model, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<AliasPeriod> periods = await db.AliasPeriods.AsNoTracking().Where(p => p.Model == model).OrderByDescending(p => p.Id)
            .ToListAsync(cancel);
        await Prove(db, periods, cancel);
        return periods;
    }

    /// <summary>Adds to periods what vouches for each.</summary>
    private static async Task Prove(ArmoFlowDbContext db, IReadOnlyList<AliasPeriod> periods, CancellationToken cancel)
    {
        IReadOnlyList<RowProof> proofs = await RowProofs.Of<AliasPeriod>(db, [.. periods.Select(p => new object[] { p.Id })], cancel);
        foreach ((AliasPeriod period, RowProof proof) in periods.Zip(proofs))
        {
            period.ProvedBy = proof.ProvedBy;
            period.Disagrees = proof.Disagrees;
        }
    }

    /// <summary>Lets an alias mean a version from now on.</summary>
    /// <param name="version">The version.</param>
    /// <param name="alias">The alias.</param>
    /// <param name="reason">Why, in the decider's words.</param>
    /// <param name="evidence">What the decision stands on; kept as JSON.</param>
    /// <param name="action">As the audit trail calls it: model.promoted or model.rolled-back.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="RegistryException">The alias cannot be one, or means this version already.</exception>
    public async Task<AliasPeriod> MoveAlias(ModelVersion version, string alias, string? reason, object evidence, string action,
        CancellationToken cancel)
    {
        if (!PromotionSpec.IsAlias(alias))
        {
            throw new RegistryException(
                $"alias '{StoredText.Excerpt(alias)}': expected letters, digits, '-' and '_', and no version number.");
        }
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        await OneAtATime(db, version.Model, cancel);
        DateTimeOffset now = await NextMoment(db, version.Model, alias, cancel);
        AliasPeriod? open = await Open(db, version.Model, alias).SingleOrDefaultAsync(cancel);
        if (open?.Version == version.Version) throw new RegistryException($"{version.Model}@{alias} is version {version.Version} already.");
        if (open is not null) await Close(db, open, now, cancel);
        string[] approvedBy = await SettleApprovals(db, version, alias, cancel);
        AliasPeriod period = new()
        {
            Model = version.Model,
            Alias = alias,
            Version = version.Version,
            ValidFrom = now,
            KnownFrom = now,
            DecidedBy = approvedBy.Length > 1 ? string.Join(", ", approvedBy) : Caller.Current.Name,
            Reason = reason,
            Evidence = JsonSerializer.Serialize(evidence, JsonSerializerOptions.Web)
        };
        db.AliasPeriods.Add(period);
        db.Note(action, $"model/{version.Model}", open is null ? null : new { alias, version = open.Version },
            new { alias, version = version.Version, reason, evidence, approvedBy = approvedBy.Length > 1 ? approvedBy : null });
        try { await db.SaveChangesAsync(cancel); }
        catch (DbUpdateException)
        {
            throw new RegistryException($"{version.Model}@{alias} was changed by somebody else at the same moment. See: armoflow models "
                + $"show {version.Model}; then ask again.");
        }
        await transaction.CommitAsync(cancel);
        return period;
    }

    /// <summary>What an alias means now, as it is known now.</summary>
    private static IQueryable<AliasPeriod> Open(ArmoFlowDbContext db, string model, string alias) =>
        db.AliasPeriods.Where(p => p.Model == model && p.Alias == alias && p.ValidUntil == null && p.KnownUntil == null);

    /// <summary>An open period is known no more; a closed one is known instead.</summary>
    private static Task Close(ArmoFlowDbContext db, AliasPeriod open, DateTimeOffset now, CancellationToken cancel)
    {
        open.KnownUntil = now;
        db.AliasPeriods.Add(new AliasPeriod
        {
            Model = open.Model,
            Alias = open.Alias,
            Version = open.Version,
            ValidFrom = open.ValidFrom,
            ValidUntil = now,
            KnownFrom = now,
            DecidedBy = open.DecidedBy,
            Reason = open.Reason,
            Evidence = open.Evidence
        });
        return db.SaveUnbound(cancel); // before the new one, of which there may be one
    }

    /// <summary>Who asked for a version; what was asked of the alias before is settled with it.</summary>
    private static async Task<string[]> SettleApprovals(ArmoFlowDbContext db, ModelVersion version, string alias, CancellationToken cancel)
    {
        List<PromotionApproval> approvals =
            await db.PromotionApprovals.Where(a => a.Model == version.Model && a.Alias == alias).OrderBy(a => a.At).ToListAsync(cancel);
        db.PromotionApprovals.RemoveRange(approvals);
        return [.. approvals.Where(a => a.Version == version.Version).Select(a => a.By)];
    }

    /// <summary>Decisions on a model's aliases, one after the other; SQLite's transactions are so by themselves.</summary>
    private static async Task OneAtATime(ArmoFlowDbContext db, string model, CancellationToken cancel)
    {
        string what = $"aliases of {StoredText.Clean(model)}";
        if (db.Database.IsNpgsql()) await db.Database.ExecuteSqlAsync($"select pg_advisory_xact_lock(hashtextextended({what}, 0))", cancel);
    }

    /// <summary>
    /// Now, asked for only once nobody else decides; never before the decision before, also where a clock has stepped back.
    /// </summary>
    private async Task<DateTimeOffset> NextMoment(ArmoFlowDbContext db, string model, string alias, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        IQueryable<AliasPeriod> decisions = db.AliasPeriods.Where(p => p.Model == model && p.Alias == alias);
        DateTimeOffset? before = await decisions.MaxAsync(p => (DateTimeOffset?)p.KnownFrom, cancel);
        return before > now ? before.Value : now;
    }

    /// <summary>Versions whose spec's rule is still to be held against them, oldest first.</summary>
    public async Task<IReadOnlyList<ModelVersion>> Awaiting(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ModelVersions.AsNoTracking()
            .Where(v => v.AwaitsAlias != null)
            .OrderBy(v => v.Model)
            .ThenBy(v => v.Version)
            .ToListAsync(cancel);
    }

    /// <summary>The rule was held against the version: it is promoted, or was before.</summary>
    public async Task SettleRule(ModelVersion version, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.ModelVersions.Where(v => v.Model == version.Model && v.Version == version.Version)
            .ExecuteUpdateAsync(set => set.SetProperty(v => v.AwaitsAlias, (string?)null), cancel);
    }

    /// <summary>The rule was held against the version, and its gates refuse it: once, though several look, with an alert.</summary>
    public async Task RefuseByRule(ModelVersion version, string alias, object evidence, string text, string? webhook,
        CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        if (await db.ModelVersions.Where(v => v.Model == version.Model && v.Version == version.Version && v.AwaitsAlias != null)
            .ExecuteUpdateAsync(set => set.SetProperty(v => v.AwaitsAlias, (string?)null), cancel) == 0)
            return;
        db.Note("model.refused", $"model/{version.Model}", after: new { alias, version = version.Version, evidence });
        db.Raise(new Alert
        {
            Kind = AlertKind.PromotionRefused,
            RunId = version.RunId,
            Model = version.Model,
            Version = version.Version,
            Text = text,
            Webhook = webhook
        }, time.GetUtcNow());
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
    }

    /// <summary>Lets an alias mean again what it meant before, one step further back each time, or a version further back.</summary>
    /// <param name="model">The model.</param>
    /// <param name="alias">The alias.</param>
    /// <param name="reason">Why.</param>
    /// <param name="cancel">Gives up.</param>
    /// <param name="to">The version; null for the one before.</param>
    /// <exception cref="RegistryException">There is nothing to go back to.</exception>
    public async Task<AliasPeriod> RollBack(string model, string alias, string? reason, CancellationToken cancel, int? to = null)
    {
        ModelVersion before = await Before(model, alias, to, cancel);
        AliasPeriod? stoodOn = (await History(model, cancel)).FirstOrDefault(p =>
            p.Alias == alias && p.KnownUntil == null && p.Version == before.Version);
        JsonElement evidence = JsonSerializer.Deserialize<JsonElement>(stoodOn?.Evidence ?? "[]");
        return await MoveAlias(before, alias, reason, evidence, RolledBack, cancel);
    }

    /// <summary>The version that a rollback leads to.</summary>
    /// <param name="model">The model.</param>
    /// <param name="alias">The alias.</param>
    /// <param name="to">The version that is asked for; null for the one before.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="RegistryException">There is nothing to go back to, or it was rolled back from.</exception>
    public async Task<ModelVersion> Before(string model, string alias, int? to, CancellationToken cancel)
    {
        AliasPeriod now = await Current(model, alias, cancel)
            ?? throw new RegistryException($"model '{model}' has no alias '{alias}'. See: armoflow models show {model}.", Refusal.Missing);
        IReadOnlyList<int> way = await WayBack(model, alias, cancel);
        if (to is null && way.Count == 0)
        {
            throw new RegistryException($"{model}@{alias} means version {now.Version}, and there is nothing to roll back to: it has "
                + $"meant no other, or was rolled back from it. To choose one: armoflow models promote {model}@VERSION.");
        }
        if (to is { } wanted && !way.Contains(wanted))
        {
            throw new RegistryException($"{model}@{alias}: no way back to version {wanted}; "
                + $"{(way.Count > 0 ? $"back lie {string.Join(", ", way)}" : "nothing lies further back")}. What it never meant, or was "
                + $"rolled back from, is promoted: armoflow models promote {model}@{wanted}.");
        }
        int version = to ?? way[0];
        return (await Versions(model, cancel)).Single(v => v.Version == version);
    }

    /// <summary>
    /// Versions that an alias can be rolled back to, nearest first: what it meant, without what it was rolled back from. The audit
    /// trail says which of its changes were rollbacks, also of those that were made before anybody asked.
    /// </summary>
    private async Task<IReadOnlyList<int>> WayBack(string model, string alias, CancellationToken cancel)
    {
        string subject = $"model/{model}";
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        var changes = await db.AuditEvents.Where(e =>
            e.Subject == subject && (e.Action == Promoted || e.Action == Forced || e.Action == RolledBack))
            .OrderBy(e => e.Sequence).Select(e => new { e.Action, e.After }).ToListAsync(cancel);
        List<int> meant = [];
        foreach (var change in changes)
        {
            using JsonDocument after = JsonDocument.Parse(change.After!);
            if (after.RootElement.GetProperty("alias").GetString() != alias) continue;
            int version = after.RootElement.GetProperty("version").GetInt32();
            if (change.Action == RolledBack) GoBack(meant, version);
            else meant.Add(version);
        }
        return [.. meant.SkipLast(1).Reverse().Where(v => v != meant[^1]).Distinct()];
    }

    /// <summary>Takes away what was rolled back from, wherever it stands.</summary>
    private static void GoBack(List<int> meant, int version)
    {
        while (meant.Count > 0 && meant[^1] != version)
        {
            int left = meant[^1];
            meant.RemoveAll(v => v == left);
        }
        if (meant.Count == 0) meant.Add(version);
    }

    /// <summary>Enters that the caller asks for a promotion which several people must ask for, and returns all who have.</summary>
    public async Task<IReadOnlyList<string>> Approve(ModelVersion version, string alias, string? reason, CancellationToken cancel)
    {
        if (Caller.Current.IsAnybody)
        {
            throw new RegistryException($"{version.Model}@{version.Version} needs several people to ask for it, and this server asks "
                + "callers on its own machine for no key: it cannot tell who asks. Ask with a key (ARMOFLOW_KEY), or on the command line "
                + "without --server.", Refusal.Forbidden);
        }
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<string> asked =
            await db.PromotionApprovals.Where(a => a.Model == version.Model && a.Alias == alias && a.Version == version.Version)
                .OrderBy(a => a.At)
                .Select(a => a.By)
                .ToListAsync(cancel);
        if (asked.Exists(by => new Caller(by).Person == Caller.Current.Person)) return asked; // with a key or without: one person
        db.PromotionApprovals.Add(new PromotionApproval
        {
            Model = version.Model,
            Alias = alias,
            Version = version.Version,
            By = Caller.Current.Name,
            At = time.GetUtcNow(),
            Reason = reason
        });
        db.Note("model.approved", $"model/{version.Model}", after: new { alias, version = version.Version, reason });
        await db.SaveChangesAsync(cancel);
        return [.. asked, Caller.Current.Name];
    }

    /// <summary>Notes that somebody asked for a promotion which the gates refused.</summary>
    public async Task NoteRefusal(ModelVersion version, string alias, object evidence, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        db.Note("model.refused", $"model/{version.Model}", after: new { alias, version = version.Version, evidence });
        await db.SaveChangesAsync(cancel);
    }

    public async Task<ModelVersion> Describe(ModelVersion version, string? notes, IReadOnlyList<string>? tags, CancellationToken cancel)
    {
        if (tags?.Count > StoredText.MostTags)
            throw new RegistryException($"{tags.Count} tags: expected at most {StoredText.MostTags}.", Refusal.Unusable);
        foreach (string tag in tags ?? [])
        {
            if (StoredText.WrongAsLabel(tag, StoredText.LongestTag) is { } expected)
                throw new RegistryException($"tag '{StoredText.Excerpt(tag)}': expected {expected}.", Refusal.Unusable);
        }
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        ModelVersion row = await db.ModelVersions.SingleAsync(v => v.Model == version.Model && v.Version == version.Version, cancel);
        object before = new { version = row.Version, row.Notes, row.Tags };
        if (notes is not null) row.Notes = notes.Length == 0 ? null : notes;
        if (tags is not null) row.Tags = [.. tags];
        db.Note("model.described", $"model/{row.Model}", before, new { version = row.Version, row.Notes, row.Tags });
        await db.SaveChangesAsync(cancel);
        return row;
    }
}

/// <summary>The registry has no such thing, or what is asked for makes no sense there.</summary>
public sealed class RegistryException(string message, Refusal refusal = Refusal.Conflict) : RefusedException(message, refusal);
