using System.Text.Json.Nodes;
using ArmoFlow.Contracts.Alerts;

namespace ArmoFlow.Contracts.Runs;

/// <summary>A run as <c>--json</c> and the HTTP API show it.</summary>
public sealed record RunDocument
{
    public required Guid RunId { get; init; }
    public required string Name { get; init; }

    public required RunStatus Status { get; init; }
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

    /// <summary>What was asked of the run and is still to come; null where nothing is.</summary>
    public RunAction? Pending { get; init; }

    /// <summary>
    /// The event of the audit trail that vouches for the run's row; null where none does, or the row is not what the event says.
    /// </summary>
    public long? ProvedBy { get; init; }

    /// <summary>Why no event proves it; null where one does.</summary>
    public string? Disagrees { get; init; }

    /// <summary>What the gates say of an evaluation, once that is known; null for other runs.</summary>
    public GatesDocument? Gates { get; init; }

    /// <summary>The alerts that the run raised: what fell below a gate, or was refused by a rule.</summary>
    public IReadOnlyList<AlertDocument> Alerts { get; init; } = [];

    public bool HasEnded => Status.HasEnded();
}

/// <summary>Whether all gates hold, and each gate's verdict (gate, holds, found, bound, detail).</summary>
public sealed record GatesDocument(bool Holds, JsonArray Verdicts);

/// <summary>What an alert tells of, in words, and when it was raised.</summary>
public sealed record AlertDocument(AlertKind Kind, string Text, DateTimeOffset RaisedAt);

public sealed record StepDocument(string Name, StepStatus Status, double Seconds, bool Reused, string? Detail);

public sealed record ArtifactDocument(string Sha256, long Bytes, string? Path);
