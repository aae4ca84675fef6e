namespace ArmoFlow.Persistence.Artifacts;

/// <summary>Whether the artifact store can be written, by writing to it; asked often, it looks once in a while.</summary>
public sealed class StoreProbe(ArtifactStore artifacts, TimeProvider time) : IDisposable
{
    private const int Bytes = 64 << 10; // a disk that is all but full takes a few bytes more
    private static readonly TimeSpan GoodFor = TimeSpan.FromSeconds(10);
    private readonly SemaphoreSlim _one = new(1);
    private string? _wrong;
    private long _lookedAt;

    /// <summary>What keeps the store from being written; null if nothing does.</summary>
    public async Task<string?> WhyNot(CancellationToken cancel)
    {
        await _one.WaitAsync(cancel);
        try
        {
            if (_lookedAt != 0 && time.GetElapsedTime(_lookedAt) < GoodFor) return _wrong;
            _wrong = await Look(cancel);
            _lookedAt = time.GetTimestamp();
            return _wrong;
        }
        finally { _one.Release(); }
    }

    public void Dispose() => _one.Dispose();

    private async Task<string?> Look(CancellationToken cancel)
    {
        string probe = Path.Combine(artifacts.Folder, $"probe-{Guid.NewGuid():N}");
        try
        {
            Directory.CreateDirectory(artifacts.Folder);
            await File.WriteAllBytesAsync(probe, new byte[Bytes], cancel);
            return null;
        }
        catch (Exception e) when (DiskFull.Is(e)) { return "no space left on the disk"; }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return "the artifact store cannot be written"; }
        finally { Remove(probe); }
    }

    private static void Remove(string probe)
    {
        try { File.Delete(probe); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { } // where it could not be written
    }
}
