using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Models;

/// <summary>A model's name with what its versions and aliases are now.</summary>
public sealed record ModelSummary(string Model, int Versions, int Newest, DateTimeOffset CreatedAt, IReadOnlyDictionary<string, int> Aliases);

/// <summary>Names, versions and aliases of models.</summary>
public sealed class ModelRegistry(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    public const string Champion = "champion";
    private static readonly string[] Parts = [ArtifactNames.Regression, ArtifactNames.Decorrelation, ArtifactNames.Gating, ArtifactNames.FeaturesReport];

    /// <summary>Enters what a completed run made, in the transaction that completes it; once for equal bytes.</summary>
    public static async Task Enter(ArmoFlowDbContext db, RunState run, DateTimeOffset now, CancellationToken cancel)
    {
        if (!Parts.All(run.Artifacts.ContainsKey)) return; // nothing to score with
        string digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', Parts.Select(p => run.Artifacts[p].Sha256)))));
        if (await db.ModelVersions.AnyAsync(v => v.Model == run.Name && v.Digest == digest, cancel)) return;
        int newest = await db.ModelVersions.Where(v => v.Model == run.Name).MaxAsync(v => (int?)v.Version, cancel) ?? 0; // another run's at the same time collides, and its message is tried again
        db.ModelVersions.Add(new ModelVersion { Model = run.Name, Version = newest + 1, RunId = run.CorrelationId, Digest = digest, CreatedAt = now, Tags = [.. run.Tags], AwaitsAlias = run.Spec.Promotion?.Automatic });
        db.Note("model.version", $"model/{run.Name}", after: new { version = newest + 1, run = run.CorrelationId, digest });
    }

    public async Task<IReadOnlyList<ModelSummary>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        var models = await db.ModelVersions.GroupBy(v => v.Model).Select(g => new { Model = g.Key, Versions = g.Count(), Newest = g.Max(v => v.Version), At = g.Max(v => v.CreatedAt) }).OrderBy(m => m.Model).ToListAsync(cancel);
        ILookup<string, AliasPeriod> aliases = (await db.AliasPeriods.AsNoTracking().Where(p => p.KnownUntil == null && p.ValidUntil == null).ToListAsync(cancel)).ToLookup(p => p.Model);
        return [.. models.Select(m => new ModelSummary(m.Model, m.Versions, m.Newest, m.At, aliases[m.Model].ToDictionary(a => a.Alias, a => a.Version)))];
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
            return versions.FirstOrDefault(v => v.Version == number) ?? throw new RegistryException($"model '{parts[0]}' has no version {number}; its newest is {versions[0].Version}. See: armoflow models show {parts[0]}.", Refusal.Missing);
        AliasPeriod? period = await Current(parts[0], parts.Length == 2 ? parts[1] : Champion, cancel);
        if (period is null && parts.Length == 2) throw new RegistryException($"model '{parts[0]}' has no alias '{parts[1]}'. See: armoflow models show {parts[0]}.", Refusal.Missing);
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
        return await db.AliasPeriods.AsNoTracking().Where(p => p.Model == model && p.Alias == alias && p.ValidFrom <= when && (p.ValidUntil == null || p.ValidUntil > when) && p.KnownFrom <= knew && (p.KnownUntil == null || p.KnownUntil > knew))
            .OrderByDescending(p => p.Id).FirstOrDefaultAsync(cancel);
    }

    /// <summary>All that was ever known of a model's aliases, newest first.</summary>
    public async Task<IReadOnlyList<AliasPeriod>> History(string model, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.AliasPeriods.AsNoTracking().Where(p => p.Model == model).OrderByDescending(p => p.Id).ToListAsync(cancel);
    }

    /// <summary>Lets an alias mean a version from now on.</summary>
    /// <param name="version">The version.</param>
    /// <param name="alias">The alias.</param>
    /// <param name="reason">Why, in the decider's words.</param>
    /// <param name="evidence">What the decision stands on; kept as JSON.</param>
    /// <param name="action">As the audit trail calls it: model.promoted or model.rolled-back.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="RegistryException">The alias cannot be one, or means this version already.</exception>
    public async Task<AliasPeriod> Point(ModelVersion version, string alias, string? reason, object evidence, string action, CancellationToken cancel)
    {
        if (!PromotionSpec.IsAlias(alias))
            throw new RegistryException($"alias '{StoredText.Excerpt(alias)}': expected letters, digits, '-' and '_', and no version number.");
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        await OneAtATime(db, version.Model, cancel);
        DateTimeOffset now = await NextMoment(db, version.Model, alias, cancel);
        AliasPeriod? open = await db.AliasPeriods.SingleOrDefaultAsync(p => p.Model == version.Model && p.Alias == alias && p.ValidUntil == null && p.KnownUntil == null, cancel);
        if (open?.Version == version.Version) throw new RegistryException($"{version.Model}@{alias} is version {version.Version} already.");
        if (open is not null)
        {
            open.KnownUntil = now;
            db.AliasPeriods.Add(new AliasPeriod { Model = open.Model, Alias = open.Alias, Version = open.Version, ValidFrom = open.ValidFrom, ValidUntil = now, KnownFrom = now, DecidedBy = open.DecidedBy, Reason = open.Reason, Evidence = open.Evidence });
            await db.SaveChangesAsync(cancel); // before the new one, of which there may be one
        }
        List<PromotionApproval> approvals = await db.PromotionApprovals.Where(a => a.Model == version.Model && a.Alias == alias).OrderBy(a => a.At).ToListAsync(cancel);
        string[] approvedBy = [.. approvals.Where(a => a.Version == version.Version).Select(a => a.By)];
        db.PromotionApprovals.RemoveRange(approvals); // what was asked of the alias before is settled
        AliasPeriod period = new() { Model = version.Model, Alias = alias, Version = version.Version, ValidFrom = now, KnownFrom = now, DecidedBy = approvedBy.Length > 1 ? string.Join(", ", approvedBy) : Caller.Current.Name, Reason = reason, Evidence = JsonSerializer.Serialize(evidence, JsonSerializerOptions.Web) };
        db.AliasPeriods.Add(period);
        db.Note(action, $"model/{version.Model}", open is null ? null : new { alias, version = open.Version }, new { alias, version = version.Version, reason, evidence, approvedBy = approvedBy.Length > 1 ? approvedBy : null });
        try { await db.SaveChangesAsync(cancel); }
        catch (DbUpdateException) { throw new RegistryException($"{version.Model}@{alias} was changed by somebody else at the same moment. See: armoflow models show {version.Model}; then ask again."); }
        await transaction.CommitAsync(cancel);
        return period;
    }

    /// <summary>Decisions on a model's aliases, one after the other; SQLite's transactions are so by themselves.</summary>
    private static async Task OneAtATime(ArmoFlowDbContext db, string model, CancellationToken cancel)
    {
        string what = $"aliases of {StoredText.Clean(model)}";
        if (db.Database.IsNpgsql()) await db.Database.ExecuteSqlAsync($"select pg_advisory_xact_lock(hashtextextended({what}, 0))", cancel);
    }

    /// <summary>Now, asked for only once nobody else decides; never before the decision before, also where a clock has stepped back.</summary>
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
        return await db.ModelVersions.AsNoTracking().Where(v => v.AwaitsAlias != null).OrderBy(v => v.Model).ThenBy(v => v.Version).ToListAsync(cancel);
    }

    /// <summary>The rule was held against the version: it is promoted, or was before.</summary>
    public async Task SettleRule(ModelVersion version, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.ModelVersions.Where(v => v.Model == version.Model && v.Version == version.Version).ExecuteUpdateAsync(set => set.SetProperty(v => v.AwaitsAlias, (string?)null), cancel);
    }

    /// <summary>The rule was held against the version, and its gates refuse it: once, though several look, with an alert.</summary>
    public async Task RefuseByRule(ModelVersion version, string alias, object evidence, string text, string? webhook, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        if (await db.ModelVersions.Where(v => v.Model == version.Model && v.Version == version.Version && v.AwaitsAlias != null).ExecuteUpdateAsync(set => set.SetProperty(v => v.AwaitsAlias, (string?)null), cancel) == 0) return;
        db.Note("model.refused", $"model/{version.Model}", after: new { alias, version = version.Version, evidence });
        db.Raise(new Alert { Kind = Alert.PromotionRefused, RunId = version.RunId, Model = version.Model, Version = version.Version, Text = text, Webhook = webhook }, time.GetUtcNow());
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
    }

    /// <summary>Lets an alias mean again what it meant before.</summary>
    /// <exception cref="RegistryException">It has not meant anything before.</exception>
    public async Task<AliasPeriod> RollBack(string model, string alias, string? reason, CancellationToken cancel)
    {
        AliasPeriod now = await Current(model, alias, cancel)
            ?? throw new RegistryException($"model '{model}' has no alias '{alias}'. See: armoflow models show {model}.", Refusal.Missing);
        AliasPeriod before = (await History(model, cancel)).Where(p => p.Alias == alias && p.KnownUntil == null && p.ValidUntil <= now.ValidFrom && p.Version != now.Version).OrderByDescending(p => p.ValidUntil).ThenByDescending(p => p.Id).FirstOrDefault()
            ?? throw new RegistryException($"{model}@{alias} has meant no other version before {now.Version}; there is nothing to roll back to.");
        return await Point((await Versions(model, cancel)).Single(v => v.Version == before.Version), alias, reason, JsonSerializer.Deserialize<JsonElement>(before.Evidence), "model.rolled-back", cancel);
    }

    /// <summary>Enters that the caller asks for a promotion which several people must ask for, and returns all who have.</summary>
    public async Task<IReadOnlyList<string>> Approve(ModelVersion version, string alias, string? reason, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<string> asked = await db.PromotionApprovals.Where(a => a.Model == version.Model && a.Alias == alias && a.Version == version.Version).OrderBy(a => a.At).Select(a => a.By).ToListAsync(cancel);
        if (asked.Contains(Caller.Current.Name)) return asked;
        db.PromotionApprovals.Add(new PromotionApproval { Model = version.Model, Alias = alias, Version = version.Version, By = Caller.Current.Name, At = time.GetUtcNow(), Reason = reason });
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
