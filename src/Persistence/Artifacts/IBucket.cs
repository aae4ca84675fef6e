namespace ArmoFlow.Persistence.Artifacts;

/// <summary>Objects by name, in a store that all machines reach.</summary>
public interface IBucket
{
    /// <summary>As people write it: s3://bucket/prefix.</summary>
    string Address { get; }

    Task<bool> Has(string name, CancellationToken cancel);

    /// <summary>An object's bytes; null where there is none.</summary>
    Task<long?> SizeOf(string name, CancellationToken cancel);

    /// <summary>Stores a file; readers see the old object or the new one.</summary>
    Task Put(string name, string path, CancellationToken cancel);

    /// <summary>Fetches an object into a file; false where there is none.</summary>
    Task<bool> Get(string name, string path, CancellationToken cancel);
    Task Delete(string name, CancellationToken cancel);
    Task<IReadOnlyList<string>> List(string prefix, CancellationToken cancel);
}
