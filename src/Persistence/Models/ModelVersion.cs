using System.ComponentModel.DataAnnotations.Schema;
using ArmoFlow.Contracts.Specs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Models;

/// <summary>What a completed run made, under its spec's name. Runs that make the same bytes share a version.</summary>
public sealed class ModelVersion
{
    public string Model { get; set; } = "";

    /// <summary>1 for the first of its name.</summary>
    public int Version { get; set; }

    /// <summary>The run that made it first.</summary>
    public Guid RunId { get; set; }

    /// <summary>
    /// Hash over the hashes of its parts: regression, decorrelation, gating, and the features' report, which names the backbone.
    /// </summary>
    public string Digest { get; set; } = "";
    public DateTimeOffset CreatedAt { get; set; }
    public string? Notes { get; set; }
    public List<string> Tags { get; set; } = [];

    /// <summary>
    /// The alias that its spec's rule (promotion.automatic) is still to be held against; null where there is no rule, or it was.
    /// </summary>
    public string? AwaitsAlias { get; set; }

    /// <summary>The gates of all specs that made these bytes, the stricter of each; null where the spec of its run says all.</summary>
    public PromotionSpec? Gates { get; set; }
}

/// <summary>
/// What a model asks of its versions from a time on, whatever their specs say. The newest row counts; none is ever altered.
/// </summary>
public sealed class ModelPolicy
{
    public string Model { get; set; } = "";

    /// <summary>1 for the model's first.</summary>
    public int Version { get; set; }

    /// <summary>Null where the policy was removed.</summary>
    public PolicySpec? Policy { get; set; }
    public string SetBy { get; set; } = "";
    public DateTimeOffset At { get; set; }
    public string Reason { get; set; } = "";
}

/// <summary>That somebody asked for a promotion which needs more people than one.</summary>
public sealed class PromotionApproval
{
    public string Model { get; set; } = "";
    public string Alias { get; set; } = "";
    public int Version { get; set; }
    public string By { get; set; } = "";
    public DateTimeOffset At { get; set; }
    public string? Reason { get; set; }
}

/// <summary>
/// That an alias meant a version from a time on, as it was known from a time on. Nothing is overwritten: what turns out to be
/// otherwise is known until then, and a new row is known from then.
/// </summary>
public sealed class AliasPeriod
{
    public long Id { get; set; }
    public string Model { get; set; } = "";
    public string Alias { get; set; } = "";
    public int Version { get; set; }
    public DateTimeOffset ValidFrom { get; set; }
    public DateTimeOffset? ValidUntil { get; set; }
    public DateTimeOffset KnownFrom { get; set; }
    public DateTimeOffset? KnownUntil { get; set; }

    /// <summary>Who decided.</summary>
    public string DecidedBy { get; set; } = "";
    public string? Reason { get; set; }

    /// <summary>The gates' verdicts that the decision stood on, as JSON.</summary>
    public string Evidence { get; set; } = "[]";

    /// <summary>
    /// In an answer: the event of the audit trail that vouches for it; null where none does, or it is not what the event says.
    /// </summary>
    [NotMapped]
    public long? ProvedBy { get; set; }

    /// <summary>In an answer: why no event proves it; null where one does.</summary>
    [NotMapped]
    public string? Disagrees { get; set; }
}

internal sealed class ModelVersionConfiguration : IEntityTypeConfiguration<ModelVersion>
{
    public void Configure(EntityTypeBuilder<ModelVersion> version)
    {
        version.HasKey(v => new { v.Model, v.Version });
        version.HasIndex(v => new { v.Model, v.Digest }).IsUnique();
        version.HasIndex(v => v.RunId);
        version.HasIndex(v => v.AwaitsAlias).HasFilter("awaits_alias is not null");
        version.Property(v => v.Tags).AsJson(isReplacedWhole: true);
        version.Property(v => v.Gates).AsJson(isReplacedWhole: true);
    }
}

internal sealed class ModelPolicyConfiguration : IEntityTypeConfiguration<ModelPolicy>
{
    public void Configure(EntityTypeBuilder<ModelPolicy> policy)
    {
        policy.HasKey(p => new { p.Model, p.Version });
        policy.Property(p => p.Version).ValueGeneratedNever();
        policy.Property(p => p.Policy).AsJson(isReplacedWhole: true);
    }
}

internal sealed class AliasPeriodConfiguration : IEntityTypeConfiguration<AliasPeriod>
{
    public void Configure(EntityTypeBuilder<AliasPeriod> period)
    {
        period.HasOne<ModelVersion>().WithMany().HasForeignKey(p => new { p.Model, p.Version });
        period.HasIndex(p => new { p.Model, p.Alias }).IsUnique().HasFilter("valid_until is null and known_until is null");
        period.HasIndex(p => new { p.Model, p.Alias, p.ValidFrom });
    }
}

internal sealed class PromotionApprovalConfiguration : IEntityTypeConfiguration<PromotionApproval>
{
    public void Configure(EntityTypeBuilder<PromotionApproval> approval)
    {
        approval.HasKey(a => new { a.Model, a.Alias, a.Version, a.By });
        approval.HasOne<ModelVersion>().WithMany().HasForeignKey(a => new { a.Model, a.Version });
    }
}
