using ArmoFlow.Contracts.Alerts;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Alerts;

/// <summary>What a run that evaluated a stored model says of it.</summary>
public sealed class ModelEvaluation
{
    public Guid RunId { get; set; }
    public string Model { get; set; } = "";
    public int Version { get; set; }
    public DateTimeOffset At { get; set; }
    public double? Score { get; set; }
    public double? HeldOutAccuracy { get; set; }

    /// <summary>False where a gate does not hold, or the run did not come to figures; null until that is known.</summary>
    public bool? Holds { get; set; }

    /// <summary>The gates' verdicts, as JSON.</summary>
    public string Verdicts { get; set; } = "[]";
    public string? Error { get; set; }
}

/// <summary>
/// That a stored model fell below its gates, or a new version was refused by the rule of its spec, and whether who is to know has
/// been told.
/// </summary>
public sealed class Alert
{
    public long Id { get; set; }
    public AlertKind Kind { get; set; }

    /// <summary>The evaluation, or the run that made the version.</summary>
    public Guid RunId { get; set; }
    public string Model { get; set; } = "";
    public int Version { get; set; }
    public DateTimeOffset RaisedAt { get; set; }
    public string Text { get; set; } = "";

    /// <summary>Where it is posted to; null for nowhere.</summary>
    public string? Webhook { get; set; }
    public int Attempts { get; set; }

    /// <summary>When it is posted again; null once it has arrived, or is given up.</summary>
    public DateTimeOffset? NextAttemptAt { get; set; }
    public DateTimeOffset? DeliveredAt { get; set; }
    public string? LastError { get; set; }
}

internal sealed class ModelEvaluationConfiguration : IEntityTypeConfiguration<ModelEvaluation>
{
    public void Configure(EntityTypeBuilder<ModelEvaluation> evaluation)
    {
        evaluation.HasKey(e => e.RunId);
        evaluation.HasOne<RunState>().WithMany().HasForeignKey(e => e.RunId);
        evaluation.HasOne<ModelVersion>().WithMany().HasForeignKey(e => new { e.Model, e.Version });
        evaluation.HasIndex(e => new { e.Model, e.At });
        evaluation.HasIndex(e => e.At).HasFilter("holds is null");
    }
}

internal sealed class AlertConfiguration : IEntityTypeConfiguration<Alert>
{
    public void Configure(EntityTypeBuilder<Alert> alert)
    {
        alert.HasOne<RunState>().WithMany().HasForeignKey(a => a.RunId);
        alert.HasIndex(a => a.NextAttemptAt).HasFilter("next_attempt_at is not null");
    }
}
