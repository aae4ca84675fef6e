using System.Collections.Concurrent;
using System.Security.Cryptography;
using ArmoFlow.Contracts;

namespace ArmoFlow.Persistence.Artifacts;

/// <summary>
/// Immutable files under their sha256, in a folder; with a bucket behind it the folder is a cache of it. Written beside and
/// renamed: no reader sees half of one. What is opened is what was put: its hash is checked.
/// </summary>
public sealed class ArtifactStore(string folder, IBucket? bucket = null, long cacheBytes = long.MaxValue)
{
    private readonly ConcurrentDictionary<string, DateTime> _verified = new(); // by time of last write, so that a change is noticed
    private long _cached = -1;

    public string Folder { get; } = folder;

    /// <summary>Where everybody finds it: a path, or the bucket's address.</summary>
    public string LocationOf(string sha256) => bucket is null ? PathOf(sha256) : $"{bucket.Address}/{ObjectName(sha256)}";

    public async ValueTask<bool> Has(string sha256, CancellationToken cancel) => bucket is null ? File.Exists(PathOf(sha256)) : await bucket.Has(ObjectName(sha256), cancel);

    /// <summary>How many bytes it has; null where it is not there.</summary>
    public async ValueTask<long?> SizeOf(string sha256, CancellationToken cancel) => bucket is not null ? await bucket.SizeOf(ObjectName(sha256), cancel) : File.Exists(PathOf(sha256)) ? new FileInfo(PathOf(sha256)).Length : null;

    /// <summary>Removes an artifact that nothing refers to any more; one that is not there is no error.</summary>
    public async Task Delete(string sha256, CancellationToken cancel)
    {
        if (bucket is not null) await bucket.Delete(ObjectName(sha256), cancel);
        File.Delete(PathOf(sha256));
        _verified.TryRemove(sha256, out _);
    }

    /// <summary>A local file with the artifact's bytes.</summary>
    /// <exception cref="ArtifactLostException">It is missing, or its bytes are no longer those that were put.</exception>
    public async Task<string> Open(string sha256, CancellationToken cancel)
    {
        string path = PathOf(sha256);
        if (bucket is not null && !File.Exists(path)) await Fetch(sha256, path, cancel);
        if (!File.Exists(path)) throw new ArtifactLostException(sha256, $"missing from {Folder}");
        DateTime written = File.GetLastWriteTimeUtc(path);
        if (_verified.GetValueOrDefault(sha256) == written) return path;
        string found = await Hash(path, cancel);
        if (found != sha256)
        {
            // Out of the way, so that the step which made it makes it again; kept, for whoever looks for the cause.
            try { File.Move(path, path + ".corrupt", overwrite: true); }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException) { } // the store may only be read
            if (bucket is not null) await bucket.Delete(ObjectName(sha256), cancel);
            throw new ArtifactLostException(sha256, $"its bytes have changed: they hash to {found}");
        }
        _verified[sha256] = written;
        return path;
    }

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
            if (bucket is not null && !await bucket.Has(ObjectName(sha256), cancel)) await bucket.Put(ObjectName(sha256), beside, cancel);
            string path = PathOf(sha256);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            if (!File.Exists(path)) File.Move(beside, path, overwrite: true);
            if (bucket is not null) MakeRoomFor(bytes);
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

    private async Task Fetch(string sha256, string path, CancellationToken cancel)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        string beside = $"{path}.{Guid.NewGuid():N}";
        try
        {
            if (await bucket!.Get(ObjectName(sha256), beside, cancel)) File.Move(beside, path, overwrite: true);
            else throw new ArtifactLostException(sha256, $"missing from {bucket.Address}");
        }
        finally
        {
            if (File.Exists(beside)) File.Delete(beside);
        }
        MakeRoomFor(new FileInfo(path).Length);
    }

    /// <summary>Counts a new file of the cache; over its size, drops what was read longest ago: the bucket has it.</summary>
    private void MakeRoomFor(long bytes)
    {
        lock (_verified)
        {
            if (_cached >= 0 && _cached + bytes <= cacheBytes)
            {
                _cached += bytes;
                return;
            }
            _cached = 0;
            foreach (FileInfo file in new DirectoryInfo(Folder).EnumerateFiles("*", SearchOption.AllDirectories).Where(f => f.Name.Length == 64).OrderByDescending(f => f.LastAccessTimeUtc))
            {
                bool isKept = _cached + file.Length <= cacheBytes || DateTime.UtcNow - file.LastAccessTimeUtc < TimeSpan.FromMinutes(10); // somebody may be reading it
                if (isKept) _cached += file.Length;
                else file.Delete();
            }
        }
    }

    private string PathOf(string sha256) => Path.Combine(Folder, sha256[..2], sha256);

    private static string ObjectName(string sha256) => $"artifacts/{sha256[..2]}/{sha256}";

    private static async Task<string> Hash(string path, CancellationToken cancel)
    {
        await using FileStream stream = File.OpenRead(path);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancel));
    }
}

/// <summary>An artifact that the books name is not in the store as it was put; the step that made it can make it again.</summary>
public sealed class ArtifactLostException(string sha256, string what) : IOException($"artifact {sha256}: {what}")
{
    public string Sha256 { get; } = sha256;
}
