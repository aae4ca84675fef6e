using System.Collections.Concurrent;
using System.Globalization;
using Amazon.Runtime;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Datasets;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using MassTransit;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Datasets;

/// <summary>
/// Adds files to data sets as they arrive in watched folders and prefixes of buckets. Several orchestrators may look at once and
/// again after a crash: the same bytes twice are one.
/// </summary>
public sealed class DatasetWatcher(
    DatasetStore datasets,
    WatchStore store,
    TimeProvider time,
    ILogger<DatasetWatcher> log)
{
    private readonly ConcurrentDictionary<(string Address, string Name), string> _fromAhead = [];
    private const int LongestAddress = 500; // it is part of an index
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(5); // a file that was written to since may not be whole

    public async Task<IReadOnlyList<WatchDocument>> List(CancellationToken cancel)
    {
        ILookup<(string, string), string> refused = await store.Refused(cancel);
        return [.. (await store.Places(cancel)).Select(w => new WatchDocument(w.Dataset, w.Address, w.CreatedBy, w.Error,
            [.. refused[(w.Dataset, w.Address)]]))];
    }

    /// <summary>Watches a place from now on; what lies there already is taken too.</summary>
    /// <exception cref="DatasetException">It is not an address that can be watched.</exception>
    public async Task<WatchDocument> Watch(string dataset, string address, CancellationToken cancel)
    {
        if (!S3Bucket.IsAddress(address) && !Path.IsPathFullyQualified(address))
            throw new DatasetException($"'{address}': expected an absolute path of a folder, or s3://bucket/prefix.");
        RequireRoot(address);
        if (!S3Bucket.IsAddress(address) && !Directory.Exists(address))
            throw new DatasetException($"'{address}': no such folder where the server runs. Make it first.");
        if (address.Length > LongestAddress)
            throw new DatasetException($"the address has {address.Length} characters: expected at most {LongestAddress}.");
        await datasets.Create(dataset, cancel);
        await store.Add(new WatchedPlace
        {
            Dataset = dataset,
            Address = address,
            CreatedBy = Caller.Current.Name,
            CreatedAt = time.GetUtcNow()
        }, cancel);
        return (await List(cancel)).Single(w => w.Dataset == dataset && w.Address == address);
    }

    /// <exception cref="DatasetException">It is not watched.</exception>
    public Task Unwatch(string dataset, string address, CancellationToken cancel) => store.Remove(dataset, address, cancel);

    /// <summary>Looks at every watched place once.</summary>
    public async Task Look(CancellationToken cancel)
    {
        foreach (WatchedPlace place in await store.Places(cancel))
        {
            string? error = null;
            try
            {
                using IDataPlace source = Open(place.Address);
                await Take(place, source, cancel);
            }
            catch (Exception e)
                when (e is IOException or UnauthorizedAccessException or AmazonServiceException or AmazonClientException
                    or HttpRequestException)
            {
                error = e.Message;
            }
            if (error == place.Error) continue;
            if (error is not null) log.LogWarning("data set {Dataset}: {Address}: {Error}", place.Dataset, place.Address, error);
            await store.SetError(place, error, cancel);
        }
    }

    /// <summary>Adds one file, wherever it lies.</summary>
    /// <exception cref="DatasetException">It is not there, or is not of a kind that can be read.</exception>
    public async Task<DatasetAddition> Take(string dataset, string address, CancellationToken cancel)
    {
        int slash = address.LastIndexOf('/');
        if (slash < 0 || slash == address.Length - 1)
            throw new DatasetException($"'{address}': expected the path of a file, or s3://bucket/name.");
        RequireRoot(address);
        using IDataPlace place = Open(address[..Math.Max(slash, 1)]);
        try
        {
            return await place.Read(address[(slash + 1)..], content => datasets.Add(dataset, address[(slash + 1)..], content, cancel),
                cancel);
        }
        catch (Exception e)
            when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new DatasetException($"'{address}': no such file where the orchestrators run.");
        }
    }

    /// <summary>Adds what is new.</summary>
    private async Task Take(WatchedPlace place, IDataPlace source, CancellationToken cancel)
    {
        IReadOnlyDictionary<string, string> seen = await store.Seen(place, cancel);
        DateTimeOffset now = time.GetUtcNow();
        foreach ((string name, string mark, DateTimeOffset written) in await source.List(cancel))
        {
            if (!DatasetStore.CanRead(name) || seen.GetValueOrDefault(name) == mark || !IsWhole(place, name, mark, written, now)) continue;
            string? error = null;
            try { await source.Read(name, content => datasets.Add(place.Dataset, name, content, cancel), cancel); }
            catch (DatasetException e)
            {
                error = StoredText.Bound(e.Message);
                log.LogWarning("data set {Dataset}: {Address}: {Error}", place.Dataset, place.Address, error);
            }
            await store.MarkSeen(place, name, mark, error, cancel);
        }
    }

    /// <summary>
    /// True for a file that nobody has written to for a while. One whose time has not come, from a machine whose clock is ahead, is whole
    /// when it looks the same twice.
    /// </summary>
    private bool IsWhole(WatchedPlace place, string name, string mark, DateTimeOffset written, DateTimeOffset now)
    {
        if (!Plausible.IsAhead(written, now)) return written < now - Settled;
        string known = _fromAhead.GetValueOrDefault((place.Address, name), "");
        _fromAhead[(place.Address, name)] = mark;
        return known == mark;
    }

    private static void RequireRoot(string address)
    {
        if (!S3Bucket.IsAddress(address) && !DataRoots.Allow(address)) throw new DatasetException(DataRoots.Outside(address).Message);
    }

    private static IDataPlace Open(string address) =>
        S3Bucket.IsAddress(address) ? new BucketPlace(new S3Bucket(address)) : new FolderPlace(address);

    private interface IDataPlace : IDisposable
    {
        /// <summary>Names and marks, and when each was last written to.</summary>
        Task<IReadOnlyList<(string Name, string Mark, DateTimeOffset Written)>> List(CancellationToken cancel);
        Task<T> Read<T>(string name, Func<Stream, Task<T>> read, CancellationToken cancel);
    }

    private sealed class FolderPlace(string folder) : IDataPlace
    {
        public Task<IReadOnlyList<(string Name, string Mark, DateTimeOffset Written)>> List(CancellationToken cancel)
        {
            IEnumerable<FileInfo> oldestFirst = new DirectoryInfo(folder).EnumerateFiles().Where(f => !f.Name.StartsWith('.'))
                .OrderBy(f => f.LastWriteTimeUtc).ThenBy(f => f.Name, StringComparer.Ordinal);
            return Task.FromResult<IReadOnlyList<(string, string, DateTimeOffset)>>(
                [.. oldestFirst.Select(f => (f.Name, Mark(f), new DateTimeOffset(f.LastWriteTimeUtc)))]);
        }

        private static string Mark(FileInfo file) =>
            string.Create(CultureInfo.InvariantCulture, $"{file.Length} {file.LastWriteTimeUtc:O}");

        public async Task<T> Read<T>(string name, Func<Stream, Task<T>> read, CancellationToken cancel)
        {
            string path = Path.Combine(folder, name);
            bool isAllowed = DataRoots.IsInside(path, folder) || (DataRoots.AreSet && DataRoots.Allow(path));
            if (!isAllowed)
            {
                throw new DatasetException($"file '{name}': a link that leads out of the folder, which is not followed. "
                    + $"Put the file itself there, or have {DataRoots.Variable} name where it leads.");
            }
            await using FileStream stream = DatasetStore.Open(path);
            return await read(stream);
        }

        public void Dispose() { }
    }

    private sealed class BucketPlace(S3Bucket bucket) : IDataPlace
    {
        public async Task<IReadOnlyList<(string Name, string Mark, DateTimeOffset Written)>> List(CancellationToken cancel) =>
            [.. (await bucket.ListMarked("", cancel)).Select(o => (o.Name, o.Mark, DateTimeOffset.UnixEpoch))]; // objects appear whole

        public async Task<T> Read<T>(string name, Func<Stream, Task<T>> read, CancellationToken cancel)
        {
            string file = Path.GetTempFileName();
            try
            {
                if (!await bucket.Get(name, file, cancel)) throw new FileNotFoundException(name);
                await using FileStream stream = File.OpenRead(file);
                return await read(stream);
            }
            finally { File.Delete(file); }
        }

        public void Dispose() => bucket.Dispose();
    }
}

/// <summary>A file has arrived, somebody says.</summary>
public sealed class DatasetArrivedConsumer(DatasetWatcher watcher) : IConsumer<DatasetArrived>
{
    public async Task Consume(ConsumeContext<DatasetArrived> context) =>
        await watcher.Take(context.Message.Dataset, context.Message.Address, context.CancellationToken);
}

/// <summary>
/// The same bytes twice are one: it needs no inbox, which a message from elsewhere, without an id, could not enter. Plain JSON will
/// do.
/// </summary>
public sealed class DatasetArrivedDefinition : ConsumerDefinition<DatasetArrivedConsumer>
{
    public DatasetArrivedDefinition() => EndpointName = DatasetArrived.Queue;

    protected override void ConfigureConsumer(IReceiveEndpointConfigurator endpointConfigurator,
        IConsumerConfigurator<DatasetArrivedConsumer> consumerConfigurator, IRegistrationContext context)
    {
        endpointConfigurator.UseRawJsonDeserializer(RawSerializerOptions.AnyMessageType);
        endpointConfigurator.UseMessageRetry(r =>
        {
            r.Ignore<DatasetException>(); // no other attempt mends it
            r.Exponential(5, TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(10), TimeSpan.FromMilliseconds(500));
        });
    }
}
