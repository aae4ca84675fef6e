using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
namespace ArmoFlow.Persistence.Work;

/// <summary>
/// A run's claim on a step's key. Of several runs that need the same work, one holds the key and does it; the others wait, and are
/// told when it is finished or given up.
/// </summary>
public sealed class StepClaim
{
    /// <summary>The step's key.</summary>
    public string Key { get; set; } = "";

    /// <summary>The run that needs the step.</summary>
    public Guid RunId { get; set; }

    /// <summary>The asking that the claim belongs to; a run that has gone on holds nothing by an older one.</summary>
    public int Attempt { get; set; }

    /// <summary>True for the one run that does the work, false for those that wait.</summary>
    public bool Holds { get; set; }
}

/// <summary>What came of a claim.</summary>
public enum ClaimOutcome
{
    /// <summary>The run does the work.</summary>
    Held,

    /// <summary>Another run does it; this one is told when it has ended.</summary>
    Waits,

    /// <summary>The run has gone on without this asking: there is nothing to do.</summary>
    Superseded,
}

internal sealed class StepClaimConfiguration : IEntityTypeConfiguration<StepClaim>
{
    public void Configure(EntityTypeBuilder<StepClaim> claim)
    {
        claim.HasKey(c => new { c.Key, c.RunId });
        claim.HasIndex(c => c.Key).IsUnique().HasFilter("holds").HasDatabaseName("ix_step_claims_holder");
        claim.HasIndex(c => c.RunId);
    }
}
