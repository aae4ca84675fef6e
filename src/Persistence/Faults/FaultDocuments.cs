using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Faults;

/// <summary>Rows as HTTP and <c>--json</c> show them.</summary>
public static class FaultDocuments
{
    public static FaultDocument ToDocument(this FaultRow fault) => new()
    {
        Id = fault.Id,
        Fingerprint = fault.Fingerprint,
        Queue = fault.Queue,
        MessageId = fault.MessageId,
        MessageType = fault.MessageType,
        ContentType = fault.ContentType,
        Body = fault.Body,
        Reason = fault.Reason,
        StackTrace = fault.StackTrace,
        Machine = fault.Machine,
        FaultedAt = fault.FaultedAt,
        Status = fault.Status,
        Redeliveries = fault.Redeliveries,
        IsCutShort = fault.IsCutShort,
        DecidedAt = fault.DecidedAt,
        DecidedBy = fault.DecidedBy,
    };
}
