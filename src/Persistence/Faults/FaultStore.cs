using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Outbox;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Faults;

/// <summary>What was set aside, and what was decided of it.</summary>
public sealed class FaultStore(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    private const int MostRedeliveries = 5;

    public async Task<IReadOnlyList<FaultGroup>> Groups(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        var groups = await db.Faults.GroupBy(f => f.Fingerprint).Select(g => new
        {
            Open = g.Count(f => f.Status == FaultStatus.Open),
            Redelivered = g.Count(f => f.Status == FaultStatus.Redelivered),
            Archived = g.Count(f => f.Status == FaultStatus.Archived),
            First = g.Min(f => f.Id),
            Latest = g.Max(f => f.Id),
        }).ToListAsync(cancel);
        long[] ids = [.. groups.SelectMany(g => new[] { g.First, g.Latest })];
        Dictionary<long, FaultRow> rows =
            await db.Faults.AsNoTracking().Where(f => ids.Contains(f.Id)).ToDictionaryAsync(f => f.Id, cancel);
        return [.. groups.OrderByDescending(g => g.Open > 0).ThenByDescending(g => g.Latest).Select(g => (Counts: g, Row: rows[g.Latest]))
            .Select(x => new FaultGroup(x.Row.Fingerprint, x.Row.Queue, x.Row.MessageType, x.Row.Reason, x.Counts.Open,
                x.Counts.Redelivered, x.Counts.Archived, rows[x.Counts.First].FaultedAt, x.Row.FaultedAt, x.Counts.Latest))];
    }

    /// <summary>The faults of a group, by its fingerprint, or one by its number; the newest hundred, newest first.</summary>
    public async Task<IReadOnlyList<FaultRow>> Find(string which, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await Chosen(db.Faults.AsNoTracking(), which).OrderByDescending(f => f.Id).Take(100).ToListAsync(cancel);
    }

    /// <summary>Sends open faults to their queues again, or archives them; each decision is recorded. Returns how many.</summary>
    /// <param name="which">A group's fingerprint, a fault's number, or 'all'.</param>
    /// <param name="decision">What to do with them.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="WornOutException">One of them cannot be sent again.</exception>
    public async Task<int> Decide(string which, FaultDecision decision, CancellationToken cancel)
    {
        bool redeliver = decision == FaultDecision.Redeliver;
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<FaultRow> faults = await Chosen(db.Faults, which).Where(f => f.Status == FaultStatus.Open).ToListAsync(cancel);
        if (redeliver && faults.Find(f => f.Redeliveries >= MostRedeliveries) is { } worn)
        {
            throw new WornOutException($"fault {worn.Id}: redelivered {worn.Redeliveries} times already; expected at most "
                + $"{MostRedeliveries}. Mend the cause ({worn.Reason}), then archive it and retry its run.");
        }
        if (redeliver && faults.Find(f => f.IsCutShort || f.Reason.StartsWith(FaultRow.Unsendable, StringComparison.Ordinal)) is { } vain)
        {
            string found =
                vain.IsCutShort ? $"the message was too long to be kept (more than {FaultRow.LongestBody:N0} characters)" : vain.Reason;
            throw new WornOutException($"fault {vain.Id}: {found}; expected one that can be sent again. Archive it, and retry its run.");
        }
        if (redeliver && faults.Find(f => Broadcasts.IsOne(f.Queue)) is { } told)
        {
            throw new WornOutException($"fault {told.Id}: it was told to every process at the time; expected a message that can be sent "
                + "again. Archive it: nothing is lost by it.");
        }
        DateTimeOffset now = time.GetUtcNow();
        foreach (FaultRow fault in faults.OrderBy(f => f.Id))
        {
            fault.Status = redeliver ? FaultStatus.Redelivered : FaultStatus.Archived;
            fault.DecidedAt = now;
            fault.DecidedBy = Caller.Current.Name;
            db.Note(redeliver ? "fault.redelivered" : "fault.archived", $"fault/{fault.Id}",
                after: new { fault.Queue, fault.MessageId, fault.Reason });
            if (redeliver) FaultKeeper.Redeliver(db, fault, now);
        }
        await db.SaveChangesAsync(cancel);
        return faults.Count;
    }

    private static IQueryable<FaultRow> Chosen(IQueryable<FaultRow> faults, string which)
    {
        if (which == "all") return faults;
        bool isNumber = long.TryParse(which, out long id) && which.Length < 12; // a fingerprint may be all digits
        return isNumber ? faults.Where(f => f.Id == id) : faults.Where(f => f.Fingerprint == which);
    }
}

/// <summary>A message that cannot be sent again: it has come back too often, or was too long to be kept.</summary>
public sealed class WornOutException(string message) : RefusedException(message, Refusal.Conflict);
