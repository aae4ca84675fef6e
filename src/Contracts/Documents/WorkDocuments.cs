using ArmoFlow.Contracts.Runs;

namespace ArmoFlow.Contracts.Documents;

/// <summary>A process that serves steps.</summary>
public sealed record WorkerDocument
{
    public required Guid Id { get; init; }
    public required string Machine { get; init; }
    public required int ProcessId { get; init; }
    public required string Version { get; init; }

    /// <summary>Names of the steps, separated by commas.</summary>
    public required string Steps { get; init; }
    public required string Device { get; init; }
    public required long MemoryBytes { get; init; }
    public required string Current { get; init; }

    /// <summary>Names of the steps whose queues have given it nothing for a while, separated by commas: no message waits in them.</summary>
    public required string IdleSteps { get; init; }
    public required DateTimeOffset StartedAt { get; init; }
    public required DateTimeOffset SeenAt { get; init; }
    public required long Beats { get; init; }
}

/// <summary>
/// What a worker wrote down while it had a slice of work in hand: its text is here while the work goes on, and an artifact
/// once it has ended, also where its worker ended without a word.
/// </summary>
public sealed record StepLogDocument
{
    public required Guid Id { get; init; }
    public required Guid RunId { get; init; }
    public required string Step { get; init; }

    /// <summary>Tells the shards of one step apart; 0 for a step that is not cut.</summary>
    public required int Slot { get; init; }
    public required int Attempt { get; init; }
    public required Guid Worker { get; init; }
    public required DateTimeOffset StartedAt { get; init; }
    public required DateTimeOffset? EndedAt { get; init; }

    public required LogOutcome Outcome { get; init; }
    public required string? Text { get; init; }
    public required string? Sha256 { get; init; }
}
