using ArmoFlow.Contracts.Runs;

namespace ArmoFlow.Contracts.Documents;

/// <summary>A process that serves steps.</summary>
public sealed record WorkerDocument
{
    /// <summary>The process's id, new at each start.</summary>
    public required Guid Id { get; init; }

    /// <summary>The machine's name.</summary>
    public required string Machine { get; init; }

    /// <summary>Its number there.</summary>
    public required int ProcessId { get; init; }

    /// <summary>The program's version.</summary>
    public required string Version { get; init; }

    /// <summary>Names of the steps, separated by commas.</summary>
    public required string Steps { get; init; }

    /// <summary>What it computes on.</summary>
    public required string Device { get; init; }

    /// <summary>Memory that it may use.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>What it has in hand, in words.</summary>
    public required string Current { get; init; }

    /// <summary>Names of the steps whose queues have given it nothing for a while, separated by commas: no message waits in them.</summary>
    public required string IdleSteps { get; init; }

    /// <summary>When it started.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>When its heartbeat was last heard.</summary>
    public required DateTimeOffset SeenAt { get; init; }

    /// <summary>How many heartbeats it has sent.</summary>
    public required long Beats { get; init; }
}

/// <summary>
/// What a worker wrote down while it had a slice of work in hand: its text is here while the work goes on, and an artifact
/// once it has ended, also where its worker ended without a word.
/// </summary>
public sealed record StepLogDocument
{
    /// <summary>The log's id.</summary>
    public required Guid Id { get; init; }

    /// <summary>The run.</summary>
    public required Guid RunId { get; init; }

    /// <summary>The step's name.</summary>
    public required string Step { get; init; }

    /// <summary>Tells the shards of one step apart; 0 for a step that is not cut.</summary>
    public required int Slot { get; init; }

    /// <summary>The number of the saga's request.</summary>
    public required int Attempt { get; init; }

    /// <summary>Who wrote it.</summary>
    public required Guid Worker { get; init; }

    /// <summary>When the work began.</summary>
    public required DateTimeOffset StartedAt { get; init; }

    /// <summary>When it ended; null while it goes on.</summary>
    public required DateTimeOffset? EndedAt { get; init; }

    /// <summary>How it ended.</summary>
    public required LogOutcome Outcome { get; init; }

    /// <summary>The text while the work goes on; null afterwards.</summary>
    public required string? Text { get; init; }

    /// <summary>The artifact with the text once the work has ended.</summary>
    public required string? Sha256 { get; init; }
}
