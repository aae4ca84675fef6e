using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Schedules;
using ArmoFlow.Contracts.Specs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Schedules;

/// <summary>A spec that is run by the clock.</summary>
public sealed class Schedule
{
    public string Name { get; set; } = "";

    /// <summary>Five fields, or six with seconds first.</summary>
    public string Cron { get; set; } = "";

    /// <summary>IANA name.</summary>
    public string TimeZone { get; set; } = "UTC";
    public RunSpec Spec { get; set; } = null!;
    public Misfire Misfire { get; set; }
    public Overlap Overlap { get; set; }

    /// <summary>
    /// A firing waits for a part of this, which its name and time decide, so that many schedules of one hour do not start at one
    /// second.
    /// </summary>
    public double JitterSeconds { get; set; }

    /// <summary>No period before this is fired for: since it was added, or resumed.</summary>
    public DateTimeOffset ActiveSince { get; set; }
    public DateTimeOffset? PausedAt { get; set; }
    public string CreatedBy { get; set; } = "";
    public DateTimeOffset UpdatedAt { get; set; }
}

/// <summary>A period of a schedule that came; once for each, whoever saw it first.</summary>
public sealed class Firing
{
    public string Schedule { get; set; } = "";
    public DateTimeOffset DueAt { get; set; }
    public DateTimeOffset FiredAt { get; set; }

    public FiringOutcome Outcome { get; set; }
    public string? Detail { get; set; }
    public Guid? RunId { get; set; }

    /// <summary>Asked for by somebody, not by the clock: it takes no period's place.</summary>
    public bool IsByHand { get; set; }
}

/// <summary>A schedule cannot be so.</summary>
public sealed class ScheduleException(string message, Refusal refusal = Refusal.Unusable) : RefusedException(message, refusal);

internal sealed class ScheduleConfiguration : IEntityTypeConfiguration<Schedule>
{
    public void Configure(EntityTypeBuilder<Schedule> schedule)
    {
        schedule.HasKey(s => s.Name);
        schedule.Property(s => s.Spec).AsJson(isReplacedWhole: true);
    }
}

internal sealed class FiringConfiguration : IEntityTypeConfiguration<Firing>
{
    public void Configure(EntityTypeBuilder<Firing> firing)
    {
        firing.HasKey(f => new { f.Schedule, f.DueAt });
        firing.HasIndex(f => f.RunId);
    }
}
