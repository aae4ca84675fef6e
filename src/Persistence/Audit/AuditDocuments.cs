using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Audit;

/// <summary>Rows as HTTP and <c>--json</c> show them.</summary>
public static class AuditDocuments
{
    public static AuditEventDocument ToDocument(this AuditEvent e) => new()
    {
        Sequence = e.Sequence,
        At = e.At,
        Actor = e.Actor,
        Action = e.Action,
        Subject = e.Subject,
        Before = e.Before,
        After = e.After,
        RequestId = e.RequestId,
        Rows = e.Rows,
        PreviousHash = e.PreviousHash,
        Hash = e.Hash,
    };
}
