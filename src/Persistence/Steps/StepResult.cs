using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
namespace ArmoFlow.Persistence.Steps;

/// <summary>A finished step under its key: what it was made from and what it made. These rows are the lineage.</summary>
public sealed class StepResult
{
    public string Key { get; set; } = "";
    public string Step { get; set; } = "";
    public int Version { get; set; }

    /// <summary>The parameters that went into the key, as JSON.</summary>
    public string Parameters { get; set; } = "{}";
    public string Detail { get; set; } = "";
    public string Metrics { get; set; } = "{}";
    public string Hardware { get; set; } = "";
    public DateTimeOffset CreatedAt { get; set; }

    /// <summary>
    /// True once one of its outputs was found lost or unreadable: it stays as lineage, and the step is done anew when it is asked
    /// for.
    /// </summary>
    public bool IsStale { get; set; }
    public List<StepArtifact> Artifacts { get; set; } = [];

    /// <summary>True where another doing of the step made the same bytes under the same names.</summary>
    public bool HasOutputsOf(StepResult other) => Outputs(this).SetEquals(Outputs(other));

    private static HashSet<(string Name, string Sha256)> Outputs(StepResult result) =>
        [.. result.Artifacts.Where(a => a.IsOutput).Select(a => (a.Name, a.Sha256))];
}

/// <summary>One artifact that a step read or wrote.</summary>
public sealed class StepArtifact
{
    public string Key { get; set; } = "";
    public bool IsOutput { get; set; }
    public string Name { get; set; } = "";
    public string Sha256 { get; set; } = "";
    public long Bytes { get; set; }
}

/// <summary>A choice that must not change between runs on one machine, such as what dtype 'auto' settled on.</summary>
public sealed class Setting
{
    public string Key { get; set; } = "";
    public string Value { get; set; } = "";
}

internal sealed class StepResultConfiguration : IEntityTypeConfiguration<StepResult>
{
    public void Configure(EntityTypeBuilder<StepResult> result)
    {
        result.HasKey(r => r.Key);
        result.HasMany(r => r.Artifacts).WithOne().HasForeignKey(a => a.Key);
    }
}

internal sealed class StepArtifactConfiguration : IEntityTypeConfiguration<StepArtifact>
{
    public void Configure(EntityTypeBuilder<StepArtifact> artifact)
    {
        artifact.HasKey(a => new { a.Key, a.IsOutput, a.Name });
        artifact.HasIndex(a => a.Sha256);
    }
}

internal sealed class SettingConfiguration : IEntityTypeConfiguration<Setting>
{
    public void Configure(EntityTypeBuilder<Setting> row) => row.HasKey(s => s.Key);
}
