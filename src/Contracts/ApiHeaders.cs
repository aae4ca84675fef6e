namespace ArmoFlow.Contracts;

/// <summary>Headers that the HTTP API reads.</summary>
public static class ApiHeaders
{
    /// <summary>The folder that a spec's relative paths are relative to, as the workers see it.</summary>
    public const string SpecFolder = "X-Spec-Folder";

    /// <summary>The caller's name of a submission: the same twice is one run.</summary>
    public const string IdempotencyKey = "Idempotency-Key";
}
