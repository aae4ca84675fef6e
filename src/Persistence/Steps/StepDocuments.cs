using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Steps;

/// <summary>Rows as HTTP and <c>--json</c> show them.</summary>
public static class StepDocuments
{
    public static StepArtifactDocument ToDocument(this StepArtifact artifact) => new()
    {
        Key = artifact.Key,
        IsOutput = artifact.IsOutput,
        Name = artifact.Name,
        Sha256 = artifact.Sha256,
        Bytes = artifact.Bytes,
    };
}
