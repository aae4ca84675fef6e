namespace ArmoFlow.Contracts.Datasets;

/// <summary>
/// A file has arrived that belongs to a data set. Whoever brings data may publish it, or send it to the queue as plain JSON.
/// </summary>
public sealed record DatasetArrived
{
    /// <summary>The queue that outside systems send to.</summary>
    public const string Queue = "dataset-arrivals";

    /// <summary>The data set's name.</summary>
    public required string Dataset { get; init; }

    /// <summary>A path that the orchestrators reach, or s3://bucket/name.</summary>
    public required string Address { get; init; }
}
