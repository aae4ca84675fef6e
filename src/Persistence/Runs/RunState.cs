using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Runs;

/// <summary>The row of a run: the saga's state and the state of its steps. Only the saga writes it.</summary>
public sealed class RunState : SagaStateMachineInstance
{
    /// <summary>The process that <c>RunSaga</c> describes; a run keeps the one that it was started with.</summary>
    public const int Workflow = 1;

    /// <summary>The state of a run that the saga has not heard of yet.</summary>
    public const string Submitted = "Initial";

    /// <summary>States that a run does not leave by itself.</summary>
    public static readonly string[] Ended = [nameof(RunStatus.Completed), nameof(RunStatus.Failed), nameof(RunStatus.Cancelled)];

    /// <summary>The state that shows as a status; 'Initial' shows as Submitted.</summary>
    public static string StateOf(RunStatus status) => status == RunStatus.Submitted ? Submitted : status.Text();

    /// <summary>States in which no step is worked on.</summary>
    public static readonly string[] AtRest = [.. Ended, nameof(RunStatus.Paused)];

    public Guid CorrelationId { get; set; }

    /// <summary>The saga's state; 'Initial' until the saga has heard of the run.</summary>
    public string CurrentState { get; set; } = Submitted;

    public RunStatus Status => CurrentState == Submitted ? RunStatus.Submitted : EnumText.Parse<RunStatus>(CurrentState);
    public int WorkflowVersion { get; set; } = Workflow;
    public string Name { get; set; } = "";
    public string SpecDigest { get; set; } = "";
    public List<string> Tags { get; set; } = [];
    public RunSpec Spec { get; set; } = null!;
    public List<RunStep> Steps { get; set; } = [];
    public Dictionary<string, ArtifactRef> Artifacts { get; set; } = [];
    public JsonObject Metrics { get; set; } = [];

    /// <summary>The gate's benchmark score, of the metrics; beside them so that lists can ask for it.</summary>
    public double? Score { get; set; }

    /// <summary>The gate's accuracy on held-out pairs, of the metrics.</summary>
    public double? HeldOutAccuracy { get; set; }
    public string? Error { get; set; }
    public bool BadInput { get; set; }

    /// <summary>What asked for the run, such as a schedule; null for a person.</summary>
    public string? Trigger { get; set; }

    /// <summary>Grows with each asking for a step; an answer to an older one is ignored.</summary>
    public int Attempt { get; set; }
    public DateTimeOffset SubmittedAt { get; set; }
    public DateTimeOffset? EndedAt { get; set; }

    /// <summary>When the step or the run in progress has taken too long; null at rest.</summary>
    public DateTimeOffset? DeadlineAt { get; set; }

    /// <summary>How often the steps of a run may lose a worker or an artifact before it fails.</summary>
    public const int MostLosses = 10;

    /// <summary>False for a run that a message names and nobody has entered.</summary>
    public bool IsEntered => Steps.Count > 0;

    public bool MayLoseMore => Steps.Sum(s => s.Losses) < MostLosses;

    public void Open(RunSpec spec, DateTimeOffset now)
    {
        Name = spec.Name;
        Spec = spec;
        SpecDigest = SpecReader.Digest(spec);
        Tags = [.. spec.Tags];
        SubmittedAt = now;
        Steps = [.. StepCatalogue.Names.Select(name => new RunStep { Name = name })];
    }

    /// <summary>The run is at its end: it is waited for no longer.</summary>
    public void End(DateTimeOffset now)
    {
        EndedAt = now;
        DeadlineAt = null;
    }

    /// <summary>A run that had ended goes on.</summary>
    public void Reopen()
    {
        Error = null;
        BadInput = false;
        EndedAt = null;
    }

    /// <summary>Takes in what a step has measured.</summary>
    public void Record(string step, JsonNode? metrics)
    {
        Metrics[step] = metrics;
        if (step != StepNames.Evaluation || RunFigures.Of(Metrics).Gate is not { } gate) return;
        Score = gate.Benchmark?.Score;
        HeldOutAccuracy = gate.HeldOutAccuracy;
    }

    /// <summary>True for a run that evaluates a stored model instead of training one.</summary>
    public bool IsEvaluation => Spec.Model is not null;

    /// <summary>Takes the parts of a stored model for its own, with the steps that made them.</summary>
    public void TakeModel(string model, RunState madeBy)
    {
        foreach (string part in ArtifactNames.ModelParts) Artifacts[part] = madeBy.Artifacts[part];
        Artifacts[ArtifactNames.ModelFeaturesReport] = madeBy.Artifacts[ArtifactNames.FeaturesReport];
        foreach (string name in ArtifactNames.ModelParts.Select(StepCatalogue.MakerOf).Distinct())
        {
            Metrics[name] = madeBy.Metrics[name]?.DeepClone();
            RunStep step = Steps.Single(s => s.Name == name);
            step.Status = StepStatus.Completed;
            step.Reused = true;
            step.Key = madeBy.Steps.Single(s => s.Name == name).Key;
            step.Detail = $"of {model}, made by run {madeBy.CorrelationId}";
        }
    }

    /// <summary>True where a lost artifact's step can be done again: often enough not tried yet, and not another run's.</summary>
    public bool MayRemake(string step) =>
        MayLoseMore && !(IsEvaluation && ArtifactNames.ModelParts.Any(p => StepCatalogue.MakerOf(p) == step));

    /// <summary>For the step just asked for, and the run as a whole.</summary>
    public void SetDeadline(DateTimeOffset now)
    {
        DateTimeOffset step = now.AddHours(Spec.Limits.StepHours), run = SubmittedAt.AddHours(Spec.Limits.RunHours);
        DeadlineAt = step < run ? step : run;
    }

    public string TimeoutMessage(DateTimeOffset now)
    {
        if (now >= SubmittedAt.AddHours(Spec.Limits.RunHours))
        {
            return $"the run took longer than the {Spec.Limits.RunHours} hours that its spec allows. Raise 'limits.runHours', then: "
                + $"armoflow runs retry {CorrelationId}.";
        }
        string step = Steps.First(s => s.Status != StepStatus.Completed).Name;
        return $"step {step} took longer than the {Spec.Limits.StepHours} hours that the spec allows. Raise 'limits.stepHours', or see "
            + $"why with: armoflow runs show {CorrelationId}.";
    }

    public RunDocument ToDocument(Func<string, string?> pathOf, DateTimeOffset now) => new()
    {
        RunId = CorrelationId,
        Name = Name,
        Status = Status,
        Tags = Tags,
        SubmittedAt = SubmittedAt,
        EndedAt = EndedAt,
        Steps = [.. Steps.Select(s => new StepDocument(s.Name, s.Status, s.SecondsAt(now), s.Reused, s.Detail))],
        Artifacts = Artifacts.OrderBy(a => a.Key, StringComparer.Ordinal)
            .ToDictionary(a => a.Key, a => new ArtifactDocument(a.Value.Sha256, a.Value.Bytes, pathOf(a.Value.Sha256))),
        Metrics = (JsonObject)Metrics.DeepClone(),
        Error = Error,
        Model = Spec.Model,
        Trigger = Trigger,
        BadInput = BadInput,
    };
}

public sealed class RunStep
{
    public string Name { get; set; } = "";
    public StepStatus Status { get; set; }
    public bool Reused { get; set; }
    public string? Detail { get; set; }
    public string? Key { get; set; }

    /// <summary>How often its worker was lost, or an artifact that it needed.</summary>
    public int Losses { get; set; }
    public DateTimeOffset? StartedAt { get; set; }
    public DateTimeOffset? EndedAt { get; set; }

    /// <summary>Counts as not done, and is asked for anew; how often it was lost is kept.</summary>
    public void Reset()
    {
        Status = StepStatus.Pending;
        StartedAt = null;
        EndedAt = null;
        Key = null;
        Reused = false;
    }

    /// <summary>How long it took, or has taken; 0 where a clock has stepped back.</summary>
    public double SecondsAt(DateTimeOffset now) =>
        StartedAt is { } start ? Math.Max(0, Math.Round(((EndedAt ?? now) - start).TotalSeconds, 3)) : 0;
}

/// <summary>A run's tag, with the run's time and state, so that the newest runs of a tag in a state are found by index.</summary>
public sealed class RunTag
{
    public Guid RunId { get; set; }
    public string Tag { get; set; } = "";

    /// <summary>The run's, kept so by the database itself (a trigger on the runs' table).</summary>
    public string State { get; set; } = RunState.Submitted;
    public DateTimeOffset SubmittedAt { get; set; }
}

/// <summary>A key that a caller gave a submission, so that the same one twice is one run.</summary>
public sealed class SubmissionKey
{
    /// <summary>The caller's name and the key.</summary>
    public string Key { get; set; } = "";
    public string SpecDigest { get; set; } = "";
    public Guid RunId { get; set; }
    public DateTimeOffset At { get; set; }
}

/// <summary>What another process asks of the one that owns the workspace.</summary>
public sealed class ControlRequest
{
    public long Id { get; set; }
    public Guid RunId { get; set; }
    public RunAction Action { get; set; }
    public DateTimeOffset RequestedAt { get; set; }
    public bool Done { get; set; }
}

internal sealed class RunStateConfiguration : IEntityTypeConfiguration<RunState>
{
    public void Configure(EntityTypeBuilder<RunState> run)
    {
        run.HasKey(r => r.CorrelationId);
        // For lists, newest first, by any of the filters; the id makes a page's end exact.
        run.HasIndex(r => new { r.SubmittedAt, r.CorrelationId });
        run.HasIndex(r => new { r.Name, r.SubmittedAt });
        run.HasIndex(r => new { r.CurrentState, r.SubmittedAt });
        run.HasIndex(r => new { r.Name, r.CurrentState, r.SubmittedAt });
        run.HasIndex(r => r.SpecDigest);
        run.HasMany<RunTag>().WithOne().HasForeignKey(t => t.RunId);
        run.HasIndex(r => r.DeadlineAt).HasFilter("deadline_at is not null");
        run.Property(r => r.Tags).AsJson(isReplacedWhole: true);
        run.Property(r => r.Spec).AsJson(isReplacedWhole: true);
        run.Property(r => r.Steps).AsJson();
        run.Property(r => r.Artifacts).AsJson();
        run.Property(r => r.Metrics).AsJson();
    }
}

internal sealed class RunTagConfiguration : IEntityTypeConfiguration<RunTag>
{
    public void Configure(EntityTypeBuilder<RunTag> tag)
    {
        tag.HasKey(t => new { t.RunId, t.Tag });
        tag.HasIndex(t => new { t.Tag, t.SubmittedAt });
        tag.Property(t => t.State).HasDefaultValue(RunState.Submitted);
        tag.HasIndex(t => new { t.Tag, t.State, t.SubmittedAt });
    }
}

internal sealed class SubmissionKeyConfiguration : IEntityTypeConfiguration<SubmissionKey>
{
    public void Configure(EntityTypeBuilder<SubmissionKey> row) => row.HasKey(s => s.Key);
}

internal sealed class ControlRequestConfiguration : IEntityTypeConfiguration<ControlRequest>
{
    public void Configure(EntityTypeBuilder<ControlRequest> row) => row.HasIndex(c => c.Done);
}
