using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Runs;

/// <summary>What a run is doing, or how it ended.</summary>
[JsonConverter(typeof(NamedEnumConverter<RunStatus>))]
public enum RunStatus
{
    /// <summary>The saga has not heard of it yet.</summary>
    Submitted,
    Ingesting,
    ExtractingFeatures,
    FittingRegression,
    FittingDecorrelation,
    TrainingGating,
    Evaluating,
    Paused,

    /// <summary>Shown of a run in progress whose workspace no process works on; never stored.</summary>
    Interrupted,
    Completed,
    Failed,
    Cancelled,
}

/// <summary>How far a step of a run is.</summary>
[JsonConverter(typeof(NamedEnumConverter<StepStatus>))]
public enum StepStatus
{
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
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
    [JsonStringEnumMemberName("cancel")]
    Cancel,

    [JsonStringEnumMemberName("pause")]
    Pause,

    /// <summary>Goes on with a paused or interrupted run.</summary>
    [JsonStringEnumMemberName("resume")]
    Resume,

    /// <summary>Goes on with a failed or cancelled run from the step that failed.</summary>
    [JsonStringEnumMemberName("retry")]
    Retry,
}

public static class RunStatuses
{
    /// <summary>True where a run does not leave the state by itself.</summary>
    public static bool HasEnded(this RunStatus status) => status is RunStatus.Completed or RunStatus.Failed or RunStatus.Cancelled;
}
