namespace ArmoFlow.Persistence.Audit;

/// <summary>What became of a trail.</summary>
/// <param name="Events">How many were looked at.</param>
/// <param name="IsWhole">True if nothing is altered, missing, added or out of place.</param>
/// <param name="BrokenAt">The first event that is not as it was written.</param>
/// <param name="What">What is wrong with it.</param>
/// <param name="HeadSequence">The newest event's number.</param>
/// <param name="HeadHash">Its hash; kept elsewhere, it shows later that nobody has written the whole trail anew.</param>
public sealed record AuditVerdict(long Events, bool IsWhole, long? BrokenAt, string? What, long HeadSequence, string HeadHash);

public static class AuditVerification
{
    /// <summary>Follows the chain from its first event to its head.</summary>
    /// <param name="events">All events, by number.</param>
    /// <param name="head">What the end must be; null where it is not known.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<AuditVerdict> Verify(IAsyncEnumerable<AuditEvent> events, AuditHead? head, CancellationToken cancel)
    {
        long sequence = 0;
        string hash = AuditHead.Start;
        await foreach (AuditEvent e in events.WithCancellation(cancel))
        {
            string? what = e.Sequence != sequence + 1 ? e.Sequence <= sequence ? $"event {e.Sequence} is there twice or out of place" : $"event {sequence + 1} is missing"
                : e.PreviousHash != hash ? "it does not follow the event before it"
                : e.ComputeHash() != e.Hash ? "its content was altered" : null;
            if (what is not null) return new AuditVerdict(sequence, false, Math.Min(e.Sequence, sequence + 1), what, sequence, hash);
            (sequence, hash) = (e.Sequence, e.Hash);
        }
        return head is not null && (head.Sequence != sequence || head.Hash != hash)
            ? new AuditVerdict(sequence, false, sequence + 1, head.Sequence > sequence ? $"events {sequence + 1} to {head.Sequence} are missing" : "the head does not agree with the last event", sequence, hash)
            : new AuditVerdict(sequence, true, null, null, sequence, hash);
    }
}
