using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
namespace ArmoFlow.Persistence.Datasets;

/// <summary>A named data set: files that were added to it, in versions.</summary>
public sealed class Dataset
{
    public string Name { get; set; } = "";
    public DateTimeOffset CreatedAt { get; set; }
    public string CreatedBy { get; set; } = "";
}

/// <summary>A file of a data set, known by its bytes: the same file twice is one.</summary>
public sealed class DatasetFile
{
    public string Dataset { get; set; } = "";
    public string Sha256 { get; set; } = "";

    /// <summary>The version that it came with; a version holds the files of all before it.</summary>
    public int Version { get; set; }

    /// <summary>Its name when it was added, without folders; its extension says how it is read.</summary>
    public string FileName { get; set; } = "";
    public long Bytes { get; set; }

    /// <summary>Rows that it brings; null for what was added before they were counted.</summary>
    public long? Rows { get; set; }
    public DateTimeOffset AddedAt { get; set; }
    public string AddedBy { get; set; } = "";

    /// <summary>The version from which on it is not read any more; null while it is.</summary>
    public int? WithdrawnIn { get; set; }
}

/// <summary>Runs a spec anew when enough has been added to the data sets that it reads; what is enough stands in the spec.</summary>
public sealed class RetrainPolicy
{
    public string Name { get; set; } = "";
    public Contracts.Specs.RunSpec Spec { get; set; } = null!;
    public string CreatedBy { get; set; } = "";
    public DateTimeOffset? PausedAt { get; set; }

    /// <summary>Data set → version that the newest run of this policy read, or that was there when the policy was added.</summary>
    public Dictionary<string, int> Versions { get; set; } = [];
    public Guid? LastRunId { get; set; }
    public DateTimeOffset? LastRunAt { get; set; }

    /// <summary>Grows with each run: of two that see the same data arrive, one goes on.</summary>
    public int Turn { get; set; }
}

/// <summary>A folder, or a prefix of a bucket (s3://bucket/prefix), whose files are added to a data set as they arrive.</summary>
public sealed class WatchedPlace
{
    public string Dataset { get; set; } = "";
    public string Address { get; set; } = "";
    public string CreatedBy { get; set; } = "";
    public DateTimeOffset CreatedAt { get; set; }

    /// <summary>Why it could not be looked at; null if it could.</summary>
    public string? Error { get; set; }
}

/// <summary>A file of a watched place that was taken, or could not be, so that it is not read again until it changes.</summary>
public sealed class WatchedFile
{
    public string Dataset { get; set; } = "";
    public string Address { get; set; } = "";
    public string Name { get; set; } = "";

    /// <summary>What changes with its content: size and time, or the bucket's tag.</summary>
    public string Mark { get; set; } = "";

    /// <summary>Why it could not be taken; null if it was.</summary>
    public string? Error { get; set; }
}

internal sealed class DatasetFileConfiguration : IEntityTypeConfiguration<DatasetFile>
{
    public void Configure(EntityTypeBuilder<DatasetFile> file)
    {
        file.HasKey(f => new { f.Dataset, f.Sha256 });
        file.HasOne<Dataset>().WithMany().HasForeignKey(f => f.Dataset);
        file.HasIndex(f => f.Sha256);
    }
}

internal sealed class WatchedPlaceConfiguration : IEntityTypeConfiguration<WatchedPlace>
{
    public void Configure(EntityTypeBuilder<WatchedPlace> place)
    {
        place.HasKey(w => new { w.Dataset, w.Address });
        place.HasOne<Dataset>().WithMany().HasForeignKey(w => w.Dataset);
    }
}

internal sealed class WatchedFileConfiguration : IEntityTypeConfiguration<WatchedFile>
{
    public void Configure(EntityTypeBuilder<WatchedFile> file)
    {
        file.HasKey(f => new { f.Dataset, f.Address, f.Name });
        file.HasOne<WatchedPlace>().WithMany().HasForeignKey(f => new { f.Dataset, f.Address });
    }
}

internal sealed class RetrainPolicyConfiguration : IEntityTypeConfiguration<RetrainPolicy>
{
    public void Configure(EntityTypeBuilder<RetrainPolicy> policy)
    {
        policy.HasKey(p => p.Name);
        policy.Property(p => p.Spec).AsJson(isReplacedWhole: true);
        policy.Property(p => p.Versions).AsJson(isReplacedWhole: true);
    }
}

internal sealed class DatasetConfiguration : IEntityTypeConfiguration<Dataset>
{
    public void Configure(EntityTypeBuilder<Dataset> row) => row.HasKey(d => d.Name);
}
