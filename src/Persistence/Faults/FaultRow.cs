namespace ArmoFlow.Persistence.Faults;

/// <summary>A message that could not be dealt with, kept with the reason until somebody decides: Open, Redelivered or Archived.</summary>
public sealed class FaultRow
{
    public long Id { get; set; }

    /// <summary>Equal for faults of one kind: same queue, message type and error, numbers and ids aside.</summary>
    public string Fingerprint { get; set; } = "";
    public string Queue { get; set; } = "";
    public Guid? MessageId { get; set; }
    public string MessageType { get; set; } = "";
    public string ContentType { get; set; } = "";
    public string Body { get; set; } = "";
    public string Reason { get; set; } = "";
    public string? StackTrace { get; set; }
    public string Machine { get; set; } = "";
    public DateTimeOffset FaultedAt { get; set; }
    public string Status { get; set; } = "Open";

    /// <summary>How often this message was redelivered and came back.</summary>
    public int Redeliveries { get; set; }
    public DateTimeOffset? DecidedAt { get; set; }
    public string? DecidedBy { get; set; }
}

/// <summary>Faults of one kind.</summary>
public sealed record FaultGroup(string Fingerprint, string Queue, string MessageType, string Reason, int Open, int Redelivered, int Archived, DateTimeOffset First, DateTimeOffset Last, long LatestId);
