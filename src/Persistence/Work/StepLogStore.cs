using System.Globalization;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Artifacts;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Work;

/// <summary>The logs of slices of work: rows while they grow, artifacts once they have ended.</summary>
public sealed class StepLogStore(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, TimeProvider time)
{
    private const int MostLogs = 1000, EndedAtOnce = 100;

    /// <summary>The logs of a run, or of one of its steps, oldest first; the newest thousand.</summary>
    public async Task<IReadOnlyList<StepLog>> Of(Guid run, string? step, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<StepLog> logs = await db.StepLogs.AsNoTracking()
            .Where(l => l.RunId == run && (step == null || l.Step == step))
            .OrderByDescending(l => l.StartedAt)
            .Take(MostLogs)
            .ToListAsync(cancel);
        logs.Reverse();
        return logs;
    }

    /// <summary>Enters logs as they are now. One that ended becomes an artifact; what its own worker says last counts.</summary>
    public async Task Enter(IReadOnlyCollection<StepLog> logs, CancellationToken cancel)
    {
        foreach (StepLog log in logs.Where(l => l.EndedAt is not null)) await PutAway(log, cancel);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<Guid> ids = [.. logs.Select(l => l.Id)];
        HashSet<Guid> known = [.. await db.StepLogs.Where(l => ids.Contains(l.Id)).Select(l => l.Id).ToListAsync(cancel)];
        db.StepLogs.UpdateRange(logs.Where(l => known.Contains(l.Id)));
        db.StepLogs.AddRange(logs.Where(l => !known.Contains(l.Id)));
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Ends logs whose workers are no longer there, a batch of them; false if none is left.</summary>
    public async Task<bool> EndOrphans(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<StepLog> orphans =
            await db.StepLogs.Where(l => l.EndedAt == null && !db.Workers.Any(w => w.Id == l.Worker)).Take(EndedAtOnce).ToListAsync(cancel);
        foreach (StepLog log in orphans)
        {
            DateTimeOffset now = time.GetUtcNow();
            log.EndedAt = now;
            log.Outcome = LogOutcome.Lost;
            log.Text += string.Create(CultureInfo.InvariantCulture, $"{now.UtcDateTime:O} lost: nothing more was heard of its worker\n");
            await PutAway(log, cancel);
        }
        await db.SaveChangesAsync(cancel);
        return orphans.Count == EndedAtOnce;
    }

    /// <summary>The text of a log, wherever it is; null if its artifact is gone.</summary>
    public async Task<string?> TextOf(StepLog log, CancellationToken cancel)
    {
        if (log.Sha256 is not { } sha256) return log.Text;
        try { return await File.ReadAllTextAsync(await artifacts.Open(sha256, cancel), cancel); }
        catch (ArtifactLostException) { return null; }
    }

    private async Task PutAway(StepLog log, CancellationToken cancel) =>
        (log.Sha256, log.Text) = ((await artifacts.PutText(log.Text ?? "", cancel)).Sha256, null);
}
