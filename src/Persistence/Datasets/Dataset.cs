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

    /// <summary>Lines that are not blank, for JSONL; null for what is not counted so.</summary>
    public long? Rows { get; set; }
    public DateTimeOffset AddedAt { get; set; }
    public string AddedBy { get; set; } = "";
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
