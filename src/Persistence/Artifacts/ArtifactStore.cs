using System.Collections.Concurrent;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using ArmoFlow.Contracts;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace ArmoFlow.Persistence.Artifacts;

/// <summary>
/// Immutable files under their sha256, in a folder; with a bucket behind it the folder is a cache of it. Written beside and
/// renamed: no reader sees half of one. What is opened is what was put: its hash is checked. A copy that is found damaged is moved
/// aside and kept; nothing but <see cref="Delete"/> removes an artifact from where everybody finds it.
/// </summary>
public sealed class ArtifactStore(
    string folder,
    IBucket? bucket = null,
    long cacheBytes = long.MaxValue,
    ILogger<ArtifactStore>? logger = null,
    TimeProvider? time = null)
{
    /// <summary>Where a process id means something: containers may share a machine's name, and have ids of their own.</summary>
    private static readonly string PidNamespace = NamePidNamespace();

    private const int NameLength = 64, Fetches = 2, MostVerified = 10_000;
    private static readonly TimeSpan InUse = TimeSpan.FromMinutes(10), Abandoned = TimeSpan.FromDays(1);
    private readonly ConcurrentDictionary<string, DateTime> _verified = new(); // by time of last write, so that a change is noticed
    private readonly ConcurrentDictionary<string, byte> _damaged = new(); // objects in the bucket that do not hash to their name
    private readonly SemaphoreSlim[] _turns = [.. Enumerable.Range(0, 64).Select(_ => new SemaphoreSlim(1))];
    private readonly ILogger _log = logger ?? NullLogger<ArtifactStore>.Instance;
    private readonly Lock _room = new();
    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private long _cached = -1;

    public string Folder { get; } = folder;

    /// <summary>Where damaged copies are kept, for whoever looks for the cause; nothing removes them.</summary>
    public string Quarantine => Path.Combine(Folder, "quarantine");

    private string Incoming => Path.Combine(Folder, "incoming");

    /// <summary>Where everybody finds it: a path, or the bucket's address.</summary>
    public string LocationOf(string sha256) => bucket is null ? PathOf(sha256) : $"{bucket.Address}/{ObjectName(sha256)}";

    /// <summary>True where something lies under the name, whatever its bytes are; see <see cref="IsSound"/>.</summary>
    public async ValueTask<bool> Has(string sha256, CancellationToken cancel) =>
        bucket is null ? File.Exists(PathOf(sha256)) : await bucket.Has(ObjectName(sha256), cancel);

    /// <summary>How many bytes it has; null where it is not there.</summary>
    public async ValueTask<long?> SizeOf(string sha256, CancellationToken cancel)
    {
        if (bucket is not null) return await bucket.SizeOf(ObjectName(sha256), cancel);
        FileInfo file = new(PathOf(sha256));
        return file.Exists ? file.Length : null;
    }

    /// <summary>
    /// True where a reader will get the bytes that were put, as far as can be told without a fetch: a local copy is hashed, once;
    /// what only the bucket has must be there, of the size it should have, and not be known to be damaged.
    /// </summary>
    /// <param name="sha256">The artifact.</param>
    /// <param name="bytes">Its size; null if the caller does not know.</param>
    /// <param name="cancel">Gives up.</param>
    public async ValueTask<bool> IsSound(string sha256, long? bytes = null, CancellationToken cancel = default)
    {
        if (bucket is not null)
        {
            // Others read the bucket: a good local copy does not make up for what is gone from there.
            long? size = await bucket.SizeOf(ObjectName(sha256), cancel);
            if (size is null || (bytes is not null && size != bytes) || _damaged.ContainsKey(sha256)) return false;
        }
        string path = PathOf(sha256);
        if (!File.Exists(path)) return bucket is not null;
        SemaphoreSlim turn = await Turn(sha256, cancel);
        try
        {
            string? found = await Check(sha256, path, cancel);
            if (found is null) return true;
            if (found.Length > 0) SetAside(sha256, path, found);
            return bucket is not null;
        }
        finally { turn.Release(); }
    }

    /// <summary>Removes an artifact that nothing refers to any more; one that is not there is no error. For the collection alone.</summary>
    public async Task Delete(string sha256, CancellationToken cancel)
    {
        if (bucket is not null) await bucket.Delete(ObjectName(sha256), cancel);
        File.Delete(PathOf(sha256));
        _verified.TryRemove(sha256, out _);
        _damaged.TryRemove(sha256, out _);
    }

    /// <summary>
    /// A local file with the artifact's bytes. A damaged local copy is fetched again; the file stays for ten minutes at least, and
    /// for as long as somebody holds it open.
    /// </summary>
    /// <exception cref="ArtifactLostException">It is missing, or no copy has the bytes that were put any more.</exception>
    public async Task<string> Open(string sha256, CancellationToken cancel)
    {
        string path = PathOf(sha256);
        SemaphoreSlim turn = await Turn(sha256, cancel);
        try
        {
            while (true)
            {
                await MakeSound(sha256, path, cancel);
                if (TryTouch(path)) return path; // else it was dropped from the cache between the look at it and now
            }
        }
        finally { turn.Release(); }
    }

    /// <summary>Sees to it that the right bytes lie at the path.</summary>
    private async Task MakeSound(string sha256, string path, CancellationToken cancel)
    {
        bool wasThere = File.Exists(path);
        if (await Check(sha256, path, cancel) is not { } found) return;
        string? kept = found.Length > 0 ? SetAside(sha256, path, found) : null;
        if (bucket is not null)
        {
            await Fetch(sha256, path, cancel);
            return;
        }
        bool isMadeAnew = File.Exists(path) && await Check(sha256, path, cancel) is null; // by another, meanwhile
        if (isMadeAnew) return;
        throw kept is null && !wasThere
            ? new ArtifactLostException(sha256, $"missing from {Folder}")
            : new ArtifactLostException(sha256, $"its bytes have changed: {found}; the damaged copy is kept at {kept ?? Quarantine}");
    }

    /// <summary>
    /// Lets <paramref name="write"/> fill a new file and takes it in under its hash. What lies under that hash already is
    /// read before it is trusted, and replaced where it is damaged.
    /// </summary>
    public async Task<ArtifactRef> Put(Func<string, Task> write, CancellationToken cancel = default)
    {
        string beside = NewIncoming();
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
            SemaphoreSlim turn = await Turn(sha256, cancel);
            try
            {
                if (bucket is not null) await Upload(sha256, bytes, beside, cancel);
                string path = PathOf(sha256);
                if (await Check(sha256, path, cancel) is { } found)
                {
                    if (found.Length > 0) SetAside(sha256, path, found);
                    MoveIn(beside, path);
                    Remember(sha256, File.GetLastWriteTimeUtc(path));
                }
            }
            finally { turn.Release(); }
            if (bucket is not null) MakeRoomFor(bytes);
            return new ArtifactRef(sha256, bytes);
        }
        finally
        {
            File.Delete(beside);
        }
    }

    /// <summary>A name for a file of the caller's beside what comes in; what a killed process leaves there is removed.</summary>
    public string NewFile() =>
        Path.Combine(Directory.CreateDirectory(Path.Combine(Folder, "incoming")).FullName, $"{Environment.ProcessId}-{Guid.NewGuid():N}");

    public Task<ArtifactRef> PutText(string text, CancellationToken cancel = default) =>
        Put(path => File.WriteAllTextAsync(path, text, cancel), cancel);

    /// <summary>Removes what killed processes left half-written; what a living one writes, here or on another machine, stays.</summary>
    public void RemoveLeftovers()
    {
        if (!Directory.Exists(Incoming)) return;
        foreach (FileInfo file in new DirectoryInfo(Incoming).EnumerateFiles())
        {
            if (IsAbandoned(file)) file.Delete();
        }
    }

    /// <summary>A process among those that this one can see is asked for; what is another machine's, or container's, has a day.</summary>
    private bool IsAbandoned(FileInfo file)
    {
        bool isOld = file.LastWriteTimeUtc < _time.GetUtcNow().UtcDateTime - Abandoned;
        string[] parts = file.Name.Split('~');
        if (parts.Length != 3) return isOld; // of a version that did not name the machine
        if (parts[0] != PidNamespace) return isOld;
        return !int.TryParse(parts[1], out int id) || (id != Environment.ProcessId && !IsRunning(id));
    }

    private static string NamePidNamespace()
    {
        string boot = OrNothing(() => File.ReadAllText("/proc/sys/kernel/random/boot_id"));
        string space = OrNothing(() => File.ResolveLinkTarget("/proc/self/ns/pid", returnFinalTarget: false)?.Name ?? "");
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes($"{Environment.MachineName}\n{boot}\n{space}"));
        return Convert.ToHexStringLower(hash.AsSpan(0, 8));
    }

    private static string OrNothing(Func<string> read)
    {
        try { return read(); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return ""; }
    }

    private static bool IsRunning(int id)
    {
        try
        {
            using Process process = Process.GetProcessById(id);
            return !process.HasExited;
        }
        catch (ArgumentException) { return false; }
    }


    private string NewIncoming()
    {
        Directory.CreateDirectory(Incoming);
        return Path.Combine(Incoming, $"{PidNamespace}~{Environment.ProcessId}~{Guid.NewGuid():N}");
    }

    /// <summary>One at a time verifies, fetches or replaces an artifact in this process.</summary>
    private async Task<SemaphoreSlim> Turn(string sha256, CancellationToken cancel)
    {
        SemaphoreSlim turn = _turns[Convert.ToInt32(sha256[..2], 16) % _turns.Length];
        await turn.WaitAsync(cancel);
        return turn;
    }

    /// <summary>Null where the file has the artifact's bytes; else what it has instead, and an empty text where it is not there.</summary>
    private async Task<string?> Check(string sha256, string path, CancellationToken cancel)
    {
        if (!File.Exists(path)) return "";
        DateTime written = File.GetLastWriteTimeUtc(path);
        if (_verified.GetValueOrDefault(sha256) == written) return null;
        string found;
        try { found = await Hash(path, cancel); }
        catch (FileNotFoundException) { return ""; } // dropped from the cache by another process
        catch (IOException e) when (bucket is not null) { return $"it cannot be read ({e.Message})"; }
        if (found != sha256) return $"they hash to {found}";
        Remember(sha256, written);
        return null;
    }

    /// <summary>What is forgotten is only hashed once more, so a full table starts anew.</summary>
    private void Remember(string sha256, DateTime written)
    {
        if (_verified.Count >= MostVerified) _verified.Clear();
        _verified[sha256] = written;
    }

    /// <summary>Moves a damaged copy out of the way; never over an earlier one. Returns where it is now; null if it was gone.</summary>
    private string? SetAside(string sha256, string path, string found)
    {
        _verified.TryRemove(sha256, out _);
        string kept = Path.Combine(Quarantine, $"{sha256}.{Guid.NewGuid():N}");
        try
        {
            Directory.CreateDirectory(Quarantine);
            File.Move(path, kept);
        }
        catch (FileNotFoundException) { return null; }
        catch (UnauthorizedAccessException) { return path; } // the store may only be read
        if (HasBytesOf(sha256, kept))
        {
            // Another process replaced the damaged copy between the look at it and the move.
            if (!File.Exists(path)) File.Move(kept, path);
            return null;
        }
        _log.LogWarning("artifact {Sha256}: the copy at {Path} is damaged: {Found}; kept at {Kept}", sha256, path, found, kept);
        return kept;
    }

    /// <summary>Fetches into a file beside, and takes it in once it hashes right.</summary>
    private async Task Fetch(string sha256, string path, CancellationToken cancel)
    {
        string found = "", kept = "";
        for (int tries = 0; tries < Fetches; tries++)
        {
            string beside = NewIncoming();
            try
            {
                if (!await bucket!.Get(ObjectName(sha256), beside, cancel))
                    throw new ArtifactLostException(sha256, $"missing from {bucket.Address}");
                found = await Hash(beside, cancel);
                if (found == sha256)
                {
                    long bytes = new FileInfo(beside).Length;
                    MoveIn(beside, path);
                    Remember(sha256, File.GetLastWriteTimeUtc(path));
                    _damaged.TryRemove(sha256, out _);
                    MakeRoomFor(bytes);
                    return;
                }
                Directory.CreateDirectory(Quarantine);
                kept = Path.Combine(Quarantine, $"{sha256}.{Guid.NewGuid():N}");
                File.Move(beside, kept);
                _log.LogWarning("artifact {Sha256}: fetched from {Address} with bytes that hash to {Found}; kept at {Kept}", sha256,
                    bucket.Address, found, kept);
            }
            finally { File.Delete(beside); }
        }
        _damaged[sha256] = 0;
        string where = LocationOf(sha256);
        throw new ArtifactLostException(sha256,
            $"its bytes have changed at {where}: fetched {Fetches} times, they hash to {found}; what came is kept at {kept}");
    }

    /// <summary>
    /// Sends an artifact to the bucket unless a whole and sound copy is there: what is there is fetched and hashed first.
    /// </summary>
    private async Task Upload(string sha256, long bytes, string file, CancellationToken cancel)
    {
        if (await bucket!.SizeOf(ObjectName(sha256), cancel) == bytes && await IsSoundInBucket(sha256, cancel)) return;
        await bucket.Put(ObjectName(sha256), file, cancel);
        _damaged.TryRemove(sha256, out _);
    }

    private async Task<bool> IsSoundInBucket(string sha256, CancellationToken cancel)
    {
        if (_damaged.ContainsKey(sha256)) return false;
        string beside = NewIncoming();
        try { return await bucket!.Get(ObjectName(sha256), beside, cancel) && await Hash(beside, cancel) == sha256; }
        finally { File.Delete(beside); }
    }

    /// <summary>Counts a new file of the cache; over its size, drops what was opened longest ago: the bucket has it.</summary>
    private void MakeRoomFor(long bytes)
    {
        lock (_room)
        {
            if (_cached >= 0 && _cached + bytes <= cacheBytes)
            {
                _cached += bytes;
                return;
            }
            _cached = 0;
            List<(FileInfo File, long Bytes, DateTime Opened)> files = [];
            foreach (FileInfo file in new DirectoryInfo(Folder)
                .EnumerateFiles("*", SearchOption.AllDirectories)
                .Where(f => f.Name.Length == NameLength))
            {
                try { files.Add((file, file.Length, file.LastAccessTimeUtc)); }
                catch (FileNotFoundException) { } // dropped by another process
            }
            foreach ((FileInfo file, long length, _) in files.OrderByDescending(f => f.Opened))
            {
                bool isKept = _cached + length <= cacheBytes || IsInUse(file);
                if (isKept) _cached += length;
                else file.Delete();
            }
        }
    }

    /// <summary>Who was given its path may open it only now; another process may have been, since the folder was listed.</summary>
    private bool IsInUse(FileInfo file)
    {
        file.Refresh();
        return file.Exists && _time.GetUtcNow().UtcDateTime - file.LastAccessTimeUtc < InUse;
    }

    /// <summary>
    /// Marks a file as in use: the mount may not count accesses by itself, and other processes drop files from the same cache.
    /// False where it is gone.
    /// </summary>
    private bool TryTouch(string path)
    {
        if (bucket is null) return true; // nothing is ever dropped
        lock (_room) // an eviction that has looked at the old time has ended
        {
            try { File.SetLastAccessTimeUtc(path, _time.GetUtcNow().UtcDateTime); }
            catch (FileNotFoundException) { return false; }
            catch (Exception e)
                when (e is IOException or UnauthorizedAccessException)
            { _log.LogDebug("{Path}: {Message}", path, e.Message); }
            return File.Exists(path);
        }
    }

    private static void MoveIn(string beside, string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.Move(beside, path, overwrite: true);
    }

    private string PathOf(string sha256) => Path.Combine(Folder, sha256[..2], sha256);

    private static string ObjectName(string sha256) => $"artifacts/{sha256[..2]}/{sha256}";

    private static bool HasBytesOf(string sha256, string path)
    {
        try
        {
            using FileStream stream = File.OpenRead(path);
            return Convert.ToHexStringLower(SHA256.HashData(stream)) == sha256;
        }
        catch (IOException) { return false; }
    }

    private static async Task<string> Hash(string path, CancellationToken cancel)
    {
        await using FileStream stream = File.OpenRead(path);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancel));
    }
}

/// <summary>An artifact that the database names is not in the store as it was put; the step that made it can make it again.</summary>
public sealed class ArtifactLostException(string sha256, string what) : IOException($"artifact {sha256}: {what}")
{
    public string Sha256 { get; } = sha256;
}
