using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Contracts.Runs;

/// <summary>Starts a run that the database holds.</summary>
public sealed record SubmitRun
{
    /// <summary>The run.</summary>
    public required Guid RunId { get; init; }

    /// <summary>Of messages from before version 2; the run's row holds it.</summary>
    public RunSpec? Spec { get; init; }
}

/// <summary>Asks the saga to cancel a run.</summary>
/// <param name="RunId">The run.</param>
public sealed record CancelRun(Guid RunId);

/// <summary>Asks the saga to pause a run.</summary>
/// <param name="RunId">The run.</param>
public sealed record PauseRun(Guid RunId);

/// <summary>Goes on with a paused run, or with one whose process was killed.</summary>
public sealed record ResumeRun(Guid RunId);

/// <summary>Goes on with a failed or cancelled run from the step that failed.</summary>
public sealed record RetryRun(Guid RunId);

/// <summary>Tells workers to drop the work of a run within a second.</summary>
public sealed record StopWork(Guid RunId);

/// <summary>A worker that had a step in hand has no heartbeat any more, or holds the step for too long.</summary>
public sealed record WorkLost
{
    /// <summary>The run.</summary>
    public required Guid RunId { get; init; }

    /// <summary>The asking whose work is lost.</summary>
    public required int Attempt { get; init; }

    /// <summary>In words for the user.</summary>
    public required string Reason { get; init; }
}

/// <summary>A message of a run can never be sent, so that nobody would hear of it again.</summary>
/// <param name="RunId">The run.</param>
/// <param name="Attempt">The asking that it belonged to; null for what belongs to the run as a whole.</param>
/// <param name="Reason">Why, for a reader.</param>
public sealed record MessageUnsent(Guid RunId, int? Attempt, string Reason);

/// <summary>A step or the whole run has taken longer than its spec allows.</summary>
public sealed record RunTimedOut(Guid RunId, int Attempt);

/// <summary>A run reached its end: Completed, Failed or Cancelled.</summary>
public sealed record RunEnded(Guid RunId, RunStatus Status, bool IsEvaluation = false, bool AwaitsRule = false);
