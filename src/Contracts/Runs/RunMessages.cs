using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Contracts.Runs;

public sealed record SubmitRun
{
    public required Guid RunId { get; init; }
    public required RunSpec Spec { get; init; }
}

public sealed record CancelRun(Guid RunId);

public sealed record PauseRun(Guid RunId);

/// <summary>Goes on with a paused run, or with one whose process was killed.</summary>
public sealed record ResumeRun(Guid RunId);

/// <summary>Goes on with a failed or cancelled run from the step that failed.</summary>
public sealed record RetryRun(Guid RunId);

/// <summary>Tells workers to drop the work of a run within a second.</summary>
public sealed record StopWork(Guid RunId);

/// <summary>A worker that had a step in hand no longer shows signs of life, or holds it for too long.</summary>
public sealed record WorkLost
{
    public required Guid RunId { get; init; }
    public required int Attempt { get; init; }
    public required string Reason { get; init; }
}

/// <summary>A step or the whole run has taken longer than its spec allows.</summary>
public sealed record RunTimedOut(Guid RunId, int Attempt);

/// <summary>A run reached its end: Completed, Failed or Cancelled.</summary>
public sealed record RunEnded(Guid RunId, string Status, bool IsEvaluation = false, bool AwaitsRule = false);
