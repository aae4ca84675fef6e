namespace ArmoFlow.Contracts.Documents;

/// <summary>A finished step on the way from or to an artifact; Distance 0 made or used the artifact itself.</summary>
public sealed record LineageStep(int Distance, string Key, string Step, int Version, string Parameters, string Hardware,
    DateTimeOffset CreatedAt, IReadOnlyList<StepArtifactDocument> Inputs, IReadOnlyList<StepArtifactDocument> Outputs)
{
    /// <summary>
    /// The newest event of the audit trail that vouches for the step's rows; null where none does, or one is not what its event says.
    /// </summary>
    public long? ProvedBy { get; init; }

    /// <summary>Why no event proves it; null where one does.</summary>
    public string? Disagrees { get; init; }

    /// <summary>Hashes of artifacts that were written again without rows that were to be forgotten, and what took their place.</summary>
    public IReadOnlyDictionary<string, string> Redacted { get; init; } = new Dictionary<string, string>();
}

/// <summary>One artifact that a step read or wrote.</summary>
public sealed record StepArtifactDocument
{
    /// <summary>The step's key.</summary>
    public required string Key { get; init; }

    /// <summary>True for what the step made, false for what it read.</summary>
    public required bool IsOutput { get; init; }

    /// <summary>What the step calls it.</summary>
    public required string Name { get; init; }

    /// <summary>The sha256 of its bytes.</summary>
    public required string Sha256 { get; init; }

    /// <summary>Its size.</summary>
    public required long Bytes { get; init; }
}
