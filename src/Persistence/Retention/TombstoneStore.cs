using ArmoFlow.Persistence.Artifacts;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Retention;

/// <summary>What is known of artifacts whose bytes were removed on purpose.</summary>
public sealed class TombstoneStore(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    /// <summary>Null for an artifact that nobody removed.</summary>
    public async Task<Tombstone?> Find(string sha256, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Tombstones.AsNoTracking().SingleOrDefaultAsync(t => t.Sha256 == sha256, cancel);
    }

    /// <summary>Why an artifact is not there, in words for whoever asked for it, with the remedy.</summary>
    public async Task<string> Explain(ArtifactLostException lost, CancellationToken cancel)
    {
        if (await Find(lost.Sha256,
            cancel) is not { } tombstone) return $"{lost.Message}. Run its spec again: the step that made it makes it anew.";
        string instead = tombstone.ReplacedBy is { } other ? $"What is left of it is artifact {other}."
            : "Run its spec again: the step that made it makes it anew.";
        return $"artifact {lost.Sha256} was removed on {tombstone.At.UtcDateTime:yyyy-MM-dd}: {tombstone.Why}. {instead}";
    }
}
