using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using MassTransit;

namespace ArmoFlow.Persistence.Runs;

/// <summary>The row of a run: the saga's state and the books of its steps. Only the saga writes it.</summary>
public sealed class RunState : SagaStateMachineInstance
{
    public Guid CorrelationId { get; set; }
    public string CurrentState { get; set; } = "";
    public string Name { get; set; } = "";
    public string SpecDigest { get; set; } = "";
    public List<string> Tags { get; set; } = [];
    public RunSpec Spec { get; set; } = null!;
    public List<RunStep> Steps { get; set; } = [];
    public Dictionary<string, ArtifactRef> Artifacts { get; set; } = [];
    public JsonObject Metrics { get; set; } = [];
    public string? Error { get; set; }
    public bool BadInput { get; set; }

    /// <summary>Grows with each asking for a step; an answer to an older one is ignored.</summary>
    public int Attempt { get; set; }
    public DateTimeOffset SubmittedAt { get; set; }
    public DateTimeOffset? EndedAt { get; set; }

    public RunDocument ToDocument(Func<string, string?> pathOf, DateTimeOffset now) => new()
    {
        RunId = CorrelationId,
        Name = Name,
        Status = CurrentState,
        Tags = Tags,
        SubmittedAt = SubmittedAt,
        EndedAt = EndedAt,
        Steps = [.. Steps.Select(s => new StepDocument(s.Name, s.Status, s.SecondsAt(now), s.Reused, s.Detail))],
        Artifacts = Artifacts.OrderBy(a => a.Key, StringComparer.Ordinal).ToDictionary(a => a.Key, a => new ArtifactDocument(a.Value.Sha256, a.Value.Bytes, pathOf(a.Value.Sha256))),
        Metrics = (JsonObject)Metrics.DeepClone(),
        Error = Error,
        BadInput = BadInput,
    };
}

public sealed class RunStep
{
    public string Name { get; set; } = "";
    public string Status { get; set; } = "Pending";
    public bool Reused { get; set; }
    public string? Detail { get; set; }
    public string? Key { get; set; }
    public DateTimeOffset? StartedAt { get; set; }
    public DateTimeOffset? EndedAt { get; set; }

    public double SecondsAt(DateTimeOffset now) => StartedAt is { } start ? Math.Round(((EndedAt ?? now) - start).TotalSeconds, 3) : 0;
}

/// <summary>What another process asks of the one that owns the workspace.</summary>
public sealed class ControlRequest
{
    public long Id { get; set; }
    public Guid RunId { get; set; }
    public string Action { get; set; } = "";
    public DateTimeOffset RequestedAt { get; set; }
    public bool Done { get; set; }
}
