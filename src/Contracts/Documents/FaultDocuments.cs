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

/// <summary>How many faults were decided on.</summary>
/// <param name="Count">That many.</param>
public sealed record FaultsDecided(int Count);

/// <summary>A message that could not be dealt with, kept with the reason until somebody decides: Open, Redelivered or Archived.</summary>
public sealed record FaultDocument
{
    /// <summary>The fault's number.</summary>
    public required long Id { get; init; }

    /// <summary>Equal for faults of one kind: same queue, message type and error, numbers and ids aside.</summary>
    public required string Fingerprint { get; init; }

    /// <summary>Where the message lay.</summary>
    public required string Queue { get; init; }

    /// <summary>The message's id, if it had one.</summary>
    public required Guid? MessageId { get; init; }

    /// <summary>The message's type.</summary>
    public required string MessageType { get; init; }

    /// <summary>How the body is written.</summary>
    public required string ContentType { get; init; }

    /// <summary>The message.</summary>
    public required string Body { get; init; }

    /// <summary>Why it could not be dealt with.</summary>
    public required string Reason { get; init; }

    /// <summary>Where that happened; null where it is not known.</summary>
    public required string? StackTrace { get; init; }

    /// <summary>On which machine.</summary>
    public required string Machine { get; init; }

    /// <summary>When.</summary>
    public required DateTimeOffset FaultedAt { get; init; }

    /// <summary>What was decided.</summary>
    public required FaultStatus Status { get; init; }

    /// <summary>How often this message was redelivered and came back.</summary>
    public required int Redeliveries { get; init; }

    /// <summary>True where the body was too long to be kept whole: it cannot be redelivered.</summary>
    public required bool IsCutShort { get; init; }

    /// <summary>When somebody decided; null while it is open.</summary>
    public required DateTimeOffset? DecidedAt { get; init; }

    /// <summary>Who did.</summary>
    public required string? DecidedBy { get; init; }
}
