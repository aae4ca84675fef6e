using ArmoFlow.Contracts;

namespace ArmoFlow.Persistence.Artifacts;

/// <summary>
/// Where unfinished steps keep their plans and checkpoints, by step key, for whichever worker takes the next slice: in a folder
/// that all of them see, or in the bucket.
/// </summary>
/// <param name="folder">The folder; of this machine alone where there is a bucket.</param>
/// <param name="reserve">A file set aside, to be given up when the disk is full; null for none.</param>
/// <param name="bucket">What all machines see; null where that is the folder.</param>
public sealed class ScratchSpace(string folder, string? reserve, IBucket? bucket = null)
{
    private const string OwnPrefix = "own-";
    private const long AlmostNothing = 1 << 20;

    public string Folder { get; } = folder;
    public string? Reserve { get; } = reserve;

    /// <summary>The key's own folder, made if need be.</summary>
    public string FolderOf(StepKey key) => Directory.CreateDirectory(Path.Combine(Folder, key.Value[..32])).FullName;

    /// <summary>A new folder of one piece of one worker's work, of this machine alone; gone when it is disposed of.</summary>
    public OwnFolder MakeOwnFolder(Guid worker) => new(Path.Combine(Folder, $"{OwnPrefix}{worker:N}", $"{Guid.NewGuid():N}"));

    /// <summary>Removes the own folders of workers that are no more.</summary>
    /// <param name="living">Those that are.</param>
    public void RemoveAbandoned(IReadOnlySet<Guid> living)
    {
        if (!Directory.Exists(Folder)) return;
        foreach (string path in Directory.EnumerateDirectories(Folder, $"{OwnPrefix}*"))
        {
            if (!Guid.TryParse(Path.GetFileName(path)[OwnPrefix.Length..], out Guid worker) || living.Contains(worker)) continue;
            try { Directory.Delete(path, recursive: true); }
            catch (DirectoryNotFoundException) { } // another removed it just now
        }
    }

    /// <summary>Makes a file of the key's folder known to other workers.</summary>
    public Task Keep(StepKey key, string name, CancellationToken cancel) =>
        bucket is null ? Task.CompletedTask : bucket.Put(ObjectName(key, name), Path.Combine(FolderOf(key), name), cancel);

    /// <summary>The latest of a file that some worker kept; null if none did.</summary>
    public async Task<string?> Recall(StepKey key, string name, CancellationToken cancel)
    {
        string path = Path.Combine(FolderOf(key), name);
        if (bucket is null) return File.Exists(path) ? path : null;
        string beside = $"{path}.{Guid.NewGuid():N}";
        try
        {
            if (!await bucket.Get(ObjectName(key, name), beside, cancel)) return null;
            File.Move(beside, path, overwrite: true);
            return path;
        }
        finally
        {
            if (File.Exists(beside)) File.Delete(beside);
        }
    }

    /// <summary>Removes what a key kept.</summary>
    public async Task Forget(StepKey key, CancellationToken cancel)
    {
        string path = Path.Combine(Folder, key.Value[..32]);
        if (Directory.Exists(path)) Directory.Delete(path, recursive: true);
        if (bucket is null) return;
        foreach (string name in await bucket.List(ObjectName(key, ""), cancel)) await bucket.Delete(name, cancel);
    }

    /// <summary>Frees what was set aside, so that a full disk can still be entered in the database; false where nothing was.</summary>
    public bool SpendReserve()
    {
        if (Reserve is null || !File.Exists(Reserve)) return false;
        File.Delete(Reserve);
        return true;
    }

    /// <summary>The same before a collection, which writes a little before it frees a lot.</summary>
    public void SpendReserveIfFull()
    {
        if (Reserve is null || !File.Exists(Reserve)) return;
        if (new DriveInfo(Path.GetDirectoryName(Reserve)!).AvailableFreeSpace < AlmostNothing) SpendReserve();
    }

    private static string ObjectName(StepKey key, string name) => $"scratch/{key.Value[..32]}/{name}";
}

/// <summary>A folder that goes with whoever made it.</summary>
public sealed class OwnFolder : IDisposable
{
    public OwnFolder(string path) => Path = Directory.CreateDirectory(path).FullName;

    public string Path { get; }

    public void Dispose()
    {
        if (Directory.Exists(Path)) Directory.Delete(Path, recursive: true);
        string parent = System.IO.Path.GetDirectoryName(Path)!;
        try
        {
            if (Directory.Exists(parent)) Directory.Delete(parent);
        }
        catch (IOException) { } // the worker has another piece of work in hand
    }
}
