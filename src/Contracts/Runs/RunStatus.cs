using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Runs;

/// <summary>What a run is doing, or how it ended.</summary>
[JsonConverter(typeof(NamedEnumConverter<RunStatus>))]
public enum RunStatus
{
    /// <summary>The saga has not heard of it yet.</summary>
    Submitted,

    /// <summary>Its data are read and rescaled.</summary>
    Ingesting,

    /// <summary>Features are computed with the backbone.</summary>
    ExtractingFeatures,

    /// <summary>Objectives are fitted.</summary>
    FittingRegression,

    /// <summary>Length bias is taken out.</summary>
    FittingDecorrelation,

    /// <summary>The gate is trained.</summary>
    TrainingGating,

    /// <summary>Pairs and benchmark are scored.</summary>
    Evaluating,

    /// <summary>It waits until somebody resumes it.</summary>
    Paused,

    /// <summary>Shown of a run in progress whose workspace no process works on; never stored.</summary>
    Interrupted,

    /// <summary>All steps are done.</summary>
    Completed,

    /// <summary>A step failed; it can be retried.</summary>
    Failed,

    /// <summary>Somebody cancelled it; it can be retried.</summary>
    Cancelled,
}

/// <summary>How far a step of a run is.</summary>
[JsonConverter(typeof(NamedEnumConverter<StepStatus>))]
public enum StepStatus
{
    /// <summary>Its turn has not come.</summary>
    Pending,

    /// <summary>It is worked on, or waits for a worker.</summary>
    Running,

    /// <summary>It is done.</summary>
    Completed,

    /// <summary>It failed.</summary>
    Failed,

    /// <summary>Its run was cancelled.</summary>
    Cancelled,

    /// <summary>Its run is paused.</summary>
    Paused,

    /// <summary>Shown of a step in progress whose workspace no process works on; never stored.</summary>
    Interrupted,

    /// <summary>Shown of a step whose worker was lost and that no worker has taken since; never stored.</summary>
    Lost,
}

/// <summary>What can be asked of a run.</summary>
[JsonConverter(typeof(NamedEnumConverter<RunAction>))]
public enum RunAction
{
    /// <summary>Ends a run; its work stops within a second.</summary>
    [JsonStringEnumMemberName("cancel")]
    Cancel,

    /// <summary>Stops a run, to go on later.</summary>
    [JsonStringEnumMemberName("pause")]
    Pause,

    /// <summary>Goes on with a paused or interrupted run.</summary>
    [JsonStringEnumMemberName("resume")]
    Resume,

    /// <summary>Goes on with a failed or cancelled run from the step that failed.</summary>
    [JsonStringEnumMemberName("retry")]
    Retry,
}

/// <summary>What follows from a status.</summary>
public static class RunStatuses
{
    /// <summary>True where a run does not leave the state by itself.</summary>
    public static bool HasEnded(this RunStatus status) => status is RunStatus.Completed or RunStatus.Failed or RunStatus.Cancelled;
}
