using System.Text.Json.Nodes;

namespace ArmoFlow.Contracts.Runs;

/// <summary>A run as <c>--json</c> and the HTTP API show it.</summary>
public sealed record RunDocument
{
    public required Guid RunId { get; init; }
    public required string Name { get; init; }

    /// <summary>
    /// Submitted, Ingesting, ExtractingFeatures, FittingRegression, FittingDecorrelation, TrainingGating, Evaluating, Completed, Failed,
    /// Cancelled, Paused or, where no process works on its workspace, Interrupted.
    /// </summary>
    public required string Status { get; init; }
    public required IReadOnlyList<string> Tags { get; init; }
    public required DateTimeOffset SubmittedAt { get; init; }
    public required DateTimeOffset? EndedAt { get; init; }
    public required IReadOnlyList<StepDocument> Steps { get; init; }
    public required IReadOnlyDictionary<string, ArtifactDocument> Artifacts { get; init; }

    /// <summary>Figures by step.</summary>
    public required JsonObject Metrics { get; init; }
    public required string? Error { get; init; }

    /// <summary>The stored model that it evaluates, NAME@VERSION; null for a run that trains one.</summary>
    public string? Model { get; init; }

    /// <summary>What asked for it, such as a schedule; null for a person.</summary>
    public string? Trigger { get; init; }

    /// <summary>True where the error is the input's.</summary>
    public bool BadInput { get; init; }

    /// <summary>What is shown of a run in progress whose workspace no process works on, until somebody goes on with it.</summary>
    public const string Interrupted = "Interrupted";

    public bool HasEnded => Status is "Completed" or "Failed" or "Cancelled";
}

/// <summary>Status: Pending, Running, Completed, Failed, Cancelled, Paused or Interrupted.</summary>
public sealed record StepDocument(string Name, string Status, double Seconds, bool Reused, string? Detail);

public sealed record ArtifactDocument(string Sha256, long Bytes, string? Path);
