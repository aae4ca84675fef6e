using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Retention;

/// <summary>A model's version that was made with something.</summary>
/// <param name="Model">The model.</param>
/// <param name="Version">Its version.</param>
/// <param name="RunId">The run that made it.</param>
/// <param name="IsCertain">False where the table of what the run read is gone (gc), and so nobody can say.</param>
public sealed record UsedBy(string Model, int Version, Guid RunId, bool IsCertain = true);

/// <summary>What no run is to read any more, and which models have.</summary>
public sealed class ForgettingBooks(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, TimeProvider time)
{
    public async Task<IReadOnlyList<Exclusion>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Exclusions.AsNoTracking().OrderBy(e => e.Kind).ThenBy(e => e.Value).ToListAsync(cancel);
    }

    /// <summary>Keeps a conversation, or a source, out of every run that is submitted from now on.</summary>
    /// <exception cref="RetentionException">The kind is none, the id is none, or there is no reason.</exception>
    public async Task<Exclusion> Exclude(string kind, string value, string reason, CancellationToken cancel)
    {
        if (kind is not (Exclusion.Conversation or Exclusion.Source)) throw new RetentionException($"'{kind}': expected conversation or source.");
        if (string.IsNullOrWhiteSpace(reason)) throw new RetentionException("forgetting needs a reason: --reason TEXT.");
        if (kind == Exclusion.Conversation ? !IsConversationId(value) : value.Length is 0 or > 200) throw new RetentionException($"{kind} '{value}': expected {(kind == Exclusion.Conversation ? "a conversation's id, lower-case hex digits as the table 'conversations' has them" : "a source's name")}.");
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.Exclusions.SingleOrDefaultAsync(e => e.Kind == kind && e.Value == value, cancel) is { } known) return known;
        Exclusion exclusion = new() { Kind = kind, Value = value, Reason = reason, By = Caller.Current.Name, At = time.GetUtcNow() };
        db.Exclusions.Add(exclusion);
        db.Note("data.forgotten", $"{kind}/{value}", after: new { reason });
        await db.SaveChangesAsync(cancel);
        return exclusion;
    }

    /// <summary>Every version that was made with it, by what its run read.</summary>
    public async Task<IReadOnlyList<UsedBy>> Users(string kind, string value, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<UsedBy> users = [];
        Dictionary<string, bool?> tables = [];
        foreach (ModelVersion version in await db.ModelVersions.AsNoTracking().OrderBy(v => v.Model).ThenBy(v => v.Version).ToListAsync(cancel))
        {
            RunState run = await db.Runs.AsNoTracking().SingleAsync(r => r.CorrelationId == version.RunId, cancel);
            bool? isUsed = kind == Exclusion.Source ? run.Spec.Ratings.Concat(run.Spec.Preferences).Any(s => s.Name == value) : run.Artifacts.TryGetValue(ArtifactNames.Conversations, out ArtifactRef? table) ? await Holds(table.Sha256) : false;
            if (isUsed != false) users.Add(new UsedBy(version.Model, version.Version, version.RunId, isUsed is not null));
        }
        return users;

        async Task<bool?> Holds(string table)
        {
            if (tables.TryGetValue(table, out bool? known)) return known;
            try { return tables[table] = (await ParquetColumn.Distinct(await artifacts.Open(table, cancel), "id", cancel)).Contains(value); }
            catch (ArtifactLostException) { return tables[table] = null; }
        }
    }

    /// <summary>A spec that leaves out what is to be forgotten; the run keeps it, so that it can be made again.</summary>
    public static async Task<RunSpec> Apply(ArmoFlowDbContext db, RunSpec spec, CancellationToken cancel)
    {
        List<Exclusion> all = await db.Exclusions.AsNoTracking().OrderBy(e => e.Value).ToListAsync(cancel);
        if (all.Count == 0) return spec;
        HashSet<string> sources = [.. all.Where(e => e.Kind == Exclusion.Source).Select(e => e.Value)];
        string[] conversations = [.. all.Where(e => e.Kind == Exclusion.Conversation).Select(e => e.Value)];
        return spec with
        {
            Ratings = [.. spec.Ratings.Where(s => !sources.Contains(s.Name))],
            Preferences = [.. spec.Preferences.Where(s => !sources.Contains(s.Name))],
            Forgotten = conversations.Length > 0 ? conversations : null,
        };
    }

    private static bool IsConversationId(string text) => text.Length is >= 32 and <= 64 && text.All(char.IsAsciiHexDigitLower);
}
