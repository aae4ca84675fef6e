using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Contracts.Documents;

/// <summary>A data set as lists show it.</summary>
public sealed record DatasetDocument(
    string Name,
    int Version,
    int Files,
    long Bytes,
    long? Rows,
    DateTimeOffset CreatedAt,
    DateTimeOffset? LastAddedAt);

/// <summary>What became of a file that was to be added.</summary>
public sealed record DatasetAddition(string Dataset, int Version, string FileName, string Sha256, long Bytes, long? Rows, bool IsNew);

/// <summary>A watched place as lists show it.</summary>
/// <param name="Dataset">What its files are added to.</param>
/// <param name="Address">A folder, or s3://bucket/prefix.</param>
/// <param name="CreatedBy">Who had it watched.</param>
/// <param name="Error">Why it could not be looked at; null if it could.</param>
/// <param name="Refused">What is wrong with files that could not be taken.</param>
public sealed record WatchDocument(string Dataset, string Address, string CreatedBy, string? Error, IReadOnlyList<string> Refused);

/// <summary>A policy as lists show it.</summary>
public sealed record PolicyDocument(
    string Name,
    string Spec,
    RetrainSpec When,
    IReadOnlyDictionary<string, int> Versions,
    DateTimeOffset? PausedAt,
    string CreatedBy,
    Guid? LastRunId,
    DateTimeOffset? LastRunAt);

/// <summary>A file of a data set, known by its bytes: the same file twice is one.</summary>
public sealed record DatasetFileDocument
{
    /// <summary>The data set's name.</summary>
    public required string Dataset { get; init; }

    /// <summary>The file's sha256.</summary>
    public required string Sha256 { get; init; }

    /// <summary>The version that it came with; a version holds the files of all before it.</summary>
    public required int Version { get; init; }

    /// <summary>Its name when it was added, without folders; its extension says how it is read.</summary>
    public required string FileName { get; init; }

    /// <summary>Its size.</summary>
    public required long Bytes { get; init; }

    /// <summary>Rows that it brings; null for what was added before they were counted.</summary>
    public required long? Rows { get; init; }

    /// <summary>When it was added.</summary>
    public required DateTimeOffset AddedAt { get; init; }

    /// <summary>By whom.</summary>
    public required string AddedBy { get; init; }

    /// <summary>The version from which on it is not read any more; null while it is.</summary>
    public required int? WithdrawnIn { get; init; }
}
