using ArmoFlow.Contracts.Faults;

namespace ArmoFlow.Contracts.Documents;

/// <summary>Faults of one kind.</summary>
public sealed record FaultGroup(
    string Fingerprint,
    string Queue,
    string MessageType,
    string Reason,
    int Open,
    int Redelivered,
    int Archived,
    DateTimeOffset First,
    DateTimeOffset Last,
    long LatestId);

public sealed record FaultsDecided(int Count);

/// <summary>A message that could not be dealt with, kept with the reason until somebody decides: Open, Redelivered or Archived.</summary>
public sealed record FaultDocument
{
    public required long Id { get; init; }

    /// <summary>Equal for faults of one kind: same queue, message type and error, numbers and ids aside.</summary>
    public required string Fingerprint { get; init; }
    public required string Queue { get; init; }
    public required Guid? MessageId { get; init; }
    public required string MessageType { get; init; }
    public required string ContentType { get; init; }
    public required string Body { get; init; }
    public required string Reason { get; init; }
    public required string? StackTrace { get; init; }
    public required string Machine { get; init; }
    public required DateTimeOffset FaultedAt { get; init; }
    public required FaultStatus Status { get; init; }

    /// <summary>How often this message was redelivered and came back.</summary>
    public required int Redeliveries { get; init; }
    public required bool IsCutShort { get; init; }
    public required DateTimeOffset? DecidedAt { get; init; }
    public required string? DecidedBy { get; init; }
}
