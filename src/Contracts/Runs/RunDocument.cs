using System.Text.Json.Nodes;
using ArmoFlow.Contracts.Alerts;

namespace ArmoFlow.Contracts.Runs;

/// <summary>A run as <c>--json</c> and the HTTP API show it.</summary>
public sealed record RunDocument
{
    /// <summary>The run's id.</summary>
    public required Guid RunId { get; init; }

    /// <summary>The spec's name.</summary>
    public required string Name { get; init; }

    /// <summary>What it is doing, or how it ended.</summary>
    public required RunStatus Status { get; init; }

    /// <summary>The spec's tags.</summary>
    public required IReadOnlyList<string> Tags { get; init; }

    /// <summary>When it was submitted.</summary>
    public required DateTimeOffset SubmittedAt { get; init; }

    /// <summary>When it ended; null while it is in progress.</summary>
    public required DateTimeOffset? EndedAt { get; init; }

    /// <summary>Its six steps, in order.</summary>
    public required IReadOnlyList<StepDocument> Steps { get; init; }

    /// <summary>What it made, by name.</summary>
    public required IReadOnlyDictionary<string, ArtifactDocument> Artifacts { get; init; }

    /// <summary>Figures by step.</summary>
    public required JsonObject Metrics { get; init; }

    /// <summary>Why it failed; null if it did not.</summary>
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

    /// <summary>True where it does not go on by itself.</summary>
    public bool HasEnded => Status.HasEnded();
}

/// <summary>Whether all gates hold, and each gate's verdict (gate, holds, found, bound, detail).</summary>
public sealed record GatesDocument(bool Holds, JsonArray Verdicts);

/// <summary>What an alert tells of, in words, and when it was raised.</summary>
public sealed record AlertDocument(AlertKind Kind, string Text, DateTimeOffset RaisedAt);

/// <summary>A step of a run.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Status">How far it is.</param>
/// <param name="Seconds">How long it has taken, or took.</param>
/// <param name="Reused">True where its result was there already.</param>
/// <param name="Detail">One line for a reader.</param>
public sealed record StepDocument(string Name, StepStatus Status, double Seconds, bool Reused, string? Detail);

/// <summary>An artifact of a run.</summary>
/// <param name="Sha256">The sha256 of its bytes.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Path">Where it lies on the machine that answers; null where it lies in a bucket.</param>
public sealed record ArtifactDocument(string Sha256, long Bytes, string? Path);
