using System.Text.Json;
using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Audit;

public static class AuditVerification
{
    private const int ProgressEvery = 20_000;

    /// <summary>Follows the chain from its first event to its head.</summary>
    /// <param name="events">All events, by number.</param>
    /// <param name="head">What the end must be; null where it is not known.</param>
    /// <param name="cancel">Gives up.</param>
    /// <param name="kept">Heads that were kept elsewhere: each must be the head of some event of the chain.</param>
    public static Task<AuditVerdict> Verify(IAsyncEnumerable<AuditEvent> events, AuditHead? head, CancellationToken cancel,
        params SignedHead[] kept) =>
        Follow(events, head, kept, new RowLedger(), long.MaxValue, null, cancel);

    /// <summary>Follows the chain of an export, and holds rows against it.</summary>
    /// <param name="export">The events' file.</param>
    /// <param name="rows">The rows' file; null for none.</param>
    /// <param name="head">What the end must be; null where it is not known.</param>
    /// <param name="kept">Heads that were kept elsewhere.</param>
    /// <param name="progress">Told now and then; null for nobody.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="JsonException">A line is not what an export writes.</exception>
    public static async Task<AuditVerdict> VerifyExport(string export, string? rows, AuditHead? head, SignedHead[] kept,
        IProgress<AuditProgress>? progress, CancellationToken cancel)
    {
        RowLedger ledger = new();
        RowsHeading? heading = rows is null ? null : await AuditRows.ReadHeading(rows);
        long ledgerEnd = heading?.Sequence ?? long.MaxValue;
        SignedHead[] onTheWay = [.. kept, .. Head(heading)];
        AuditVerdict verdict = await Follow(AuditStore.ReadExport(export), head, onTheWay, ledger, ledgerEnd, progress, cancel);
        if (!verdict.IsWhole || rows is null) return verdict;
        return await Compare(verdict, ledger, AuditRows.Read(rows, cancel), heading!.IsPart, EventsOf, progress, cancel);

        async Task<Dictionary<long, AuditEvent>> EventsOf(IReadOnlySet<long> wanted) =>
            await AuditStore.ReadExport(export).Where(e => wanted.Contains(e.Sequence))
                .ToDictionaryAsync(e => e.Sequence, cancellationToken: cancel);
    }

    private static SignedHead[] Head(RowsHeading? heading) => heading is null ? []
        : [new SignedHead(heading.Sequence, heading.Hash, heading.At)];

    /// <param name="events">All events, by number.</param>
    /// <param name="head">What the end must be.</param>
    /// <param name="kept">What must be on the way.</param>
    /// <param name="ledger">Is fed with the events.</param>
    /// <param name="ledgerEnd">The last event that the ledger is fed with: rows may be of an earlier time.</param>
    /// <param name="progress">Told now and then.</param>
    /// <param name="cancel">Gives up.</param>
    internal static async Task<AuditVerdict> Follow(IAsyncEnumerable<AuditEvent> events, AuditHead? head, SignedHead[] kept,
        RowLedger ledger, long ledgerEnd, IProgress<AuditProgress>? progress, CancellationToken cancel)
    {
        long sequence = 0;
        string hash = AuditHead.Start;
        if (kept.FirstOrDefault(k => k.Sequence == 0 && k.Hash != AuditHead.Start) is not null)
        {
            return Broken(1, "the head that was kept is not the beginning of any trail");
        }
        await foreach (AuditEvent e in events.WithCancellation(cancel))
        {
            if (WhyNotNext(e, sequence, hash) is { } what) return Broken(Math.Min(e.Sequence, sequence + 1), what);
            if (Array.Find(kept, k => k.Sequence == e.Sequence && k.Hash != e.Hash) is { } other)
            {
                return Broken(e.Sequence,
                    $"it is not the event that the head kept at {other.At.UtcDateTime:u} names: the trail was written anew");
            }
            sequence = e.Sequence;
            hash = e.Hash;
            if (sequence <= ledgerEnd) ledger.Take(e);
            if (sequence % ProgressEvery == 0) progress?.Report(new AuditProgress(sequence, 0));
        }
        if (WhyNotEnd(sequence, hash, head, kept) is { } end) return Broken(sequence + 1, end);
        return new AuditVerdict(sequence, true, null, null, sequence, hash);

        AuditVerdict Broken(long at, string what) => new(sequence, false, at, what, sequence, hash);
    }

    /// <summary>Why an event cannot be the one after another; null where it is.</summary>
    private static string? WhyNotNext(AuditEvent e, long sequence, string hash)
    {
        if (e.Sequence <= sequence) return $"event {e.Sequence} is there twice or out of place";
        if (e.Sequence > sequence + 1) return $"event {sequence + 1} is missing";
        if (e.PreviousHash != hash) return "it does not follow the event before it";
        return e.ComputeHash() != e.Hash ? "its content was altered" : null;
    }

    /// <summary>Why a trail cannot end with an event; null where it may.</summary>
    private static string? WhyNotEnd(long sequence, string hash, AuditHead? head, SignedHead[] kept)
    {
        if (head is not null && head.Sequence > sequence) return $"events {sequence + 1} to {head.Sequence} are missing";
        if (head is not null && (head.Sequence != sequence || head.Hash != hash)) return "the head does not agree with the last event";
        if (kept.MaxBy(k => k.Sequence) is not { } newest || newest.Sequence <= sequence) return null;
        return $"events {sequence + 1} to {newest.Sequence} are missing: the head kept at {newest.At.UtcDateTime:u} is newer than the "
            + "last event";
    }

    /// <summary>Adds to a verdict on a whole chain what the rows say.</summary>
    internal static async Task<AuditVerdict> Compare(AuditVerdict verdict, RowLedger ledger, IAsyncEnumerable<RowValues> rows, bool isPart,
        FetchEvents eventsOf, IProgress<AuditProgress>? progress, CancellationToken cancel)
    {
        if (!ledger.IsOpen) return verdict; // made before events vouched for rows, and not taken in since
        await ledger.Check(Told(rows, verdict.Events, progress), isPart, eventsOf, cancel);
        string others = ledger.FindingCount > 1 ? $" (and {ledger.FindingCount - 1:N0} more)" : "";
        return verdict with
        {
            IsWhole = ledger.FindingCount == 0,
            What = ledger.FindingCount == 0 ? null : $"{ledger.Findings[0]}{others}",
            Rows = ledger.Rows,
            Findings = ledger.Findings,
            FindingCount = ledger.FindingCount,
            Unrecorded = ledger.Unrecorded,
            AdoptedAt = ledger.AdoptedAt,
            AdoptedRows = ledger.AdoptedRows,
        };
    }

    private static async IAsyncEnumerable<RowValues> Told(IAsyncEnumerable<RowValues> rows, long events,
        IProgress<AuditProgress>? progress)
    {
        long told = 0;
        await foreach (RowValues row in rows)
        {
            if (++told % ProgressEvery == 0) progress?.Report(new AuditProgress(events, told));
            yield return row;
        }
    }
}
