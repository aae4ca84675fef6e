using System.Security.Cryptography;
using ArmoFlow.Contracts;

namespace ArmoFlow.Persistence.Artifacts;

/// <summary>Immutable files under their sha256, in a local folder. Written beside and renamed: no reader sees half of one.</summary>
public sealed class ArtifactStore(string folder)
{
    public string Folder { get; } = folder;

    public string PathOf(string sha256) => Path.Combine(Folder, sha256[..2], sha256);

    public bool Has(string sha256) => File.Exists(PathOf(sha256));

    /// <summary>A file's path for reading.</summary>
    public string Open(ArtifactRef artifact) => Has(artifact.Sha256) ? PathOf(artifact.Sha256) : throw new FileNotFoundException($"artifact {artifact.Sha256} is not in {Folder}");

    /// <summary>Lets <paramref name="write"/> fill a new file and takes it in under its hash.</summary>
    public async Task<ArtifactRef> Put(Func<string, Task> write, CancellationToken cancel = default)
    {
        string incoming = Path.Combine(Folder, "incoming");
        Directory.CreateDirectory(incoming);
        string beside = Path.Combine(incoming, $"{Environment.ProcessId}-{Guid.NewGuid():N}");
        try
        {
            await write(beside);
            string sha256;
            long bytes;
            await using (FileStream stream = new(beside, FileMode.Open, FileAccess.ReadWrite))
            {
                bytes = stream.Length;
                sha256 = Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancel));
                stream.Flush(flushToDisk: true);
            }
            string path = PathOf(sha256);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            if (!File.Exists(path)) File.Move(beside, path, overwrite: true);
            return new ArtifactRef(sha256, bytes);
        }
        finally
        {
            if (File.Exists(beside)) File.Delete(beside);
        }
    }

    public Task<ArtifactRef> PutText(string text, CancellationToken cancel = default) => Put(path => File.WriteAllTextAsync(path, text, cancel), cancel);

    /// <summary>Removes what a killed process left half-written.</summary>
    public void RemoveLeftovers()
    {
        string incoming = Path.Combine(Folder, "incoming");
        if (Directory.Exists(incoming)) Directory.Delete(incoming, recursive: true);
    }
}
