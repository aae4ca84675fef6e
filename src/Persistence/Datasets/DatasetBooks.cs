using System.IO.Compression;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Datasets;

/// <summary>A data set as lists show it.</summary>
public sealed record DatasetDocument(string Name, int Version, int Files, long Bytes, long? Rows, DateTimeOffset CreatedAt, DateTimeOffset? LastAddedAt);

/// <summary>What became of a file that was to be added.</summary>
public sealed record DatasetAddition(string Dataset, int Version, string FileName, string Sha256, long Bytes, long? Rows, bool IsNew);

/// <summary>Named data sets, their files in the artifact store.</summary>
public sealed class DatasetBooks(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, TimeProvider time)
{
    private static readonly string[] Kinds = [".json", ".jsonl", ".ndjson", ".parquet"];

    public async Task<IReadOnlyList<DatasetDocument>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        ILookup<string, DatasetFile> files = (await db.DatasetFiles.AsNoTracking().ToListAsync(cancel)).ToLookup(f => f.Dataset);
        return [.. (await db.Datasets.AsNoTracking().OrderBy(d => d.Name).ToListAsync(cancel)).Select(d => new DatasetDocument(d.Name, files[d.Name].Select(f => f.Version).DefaultIfEmpty().Max(), files[d.Name].Count(), files[d.Name].Sum(f => f.Bytes),
            files[d.Name].All(f => f.Rows is not null) ? files[d.Name].Sum(f => f.Rows) : null, d.CreatedAt, files[d.Name].Any() ? files[d.Name].Max(f => f.AddedAt) : null))];
    }

    /// <summary>The files of a version, oldest first; of the newest if none is given.</summary>
    /// <exception cref="DatasetException">There is no such data set or version.</exception>
    public async Task<IReadOnlyList<DatasetFile>> Files(string name, int? version, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        int newest = await Newest(db, name, cancel);
        if (version > newest) throw new DatasetException($"data set '{name}' has no version {version}; its newest is {newest}.");
        return await db.DatasetFiles.AsNoTracking().Where(f => f.Dataset == name && (version == null || f.Version <= version)).OrderBy(f => f.Version).ThenBy(f => f.FileName).ThenBy(f => f.Sha256).ToListAsync(cancel);
    }

    /// <summary>Makes an empty data set; one that is there stays as it is.</summary>
    public async Task Create(string name, CancellationToken cancel)
    {
        if (!DatasetReference.IsName(name)) throw new DatasetException($"data set '{name}': expected a name of letters, digits, '-', '_' and '.'.");
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.Datasets.AnyAsync(d => d.Name == name, cancel)) return;
        db.Datasets.Add(new Dataset { Name = name, CreatedAt = time.GetUtcNow(), CreatedBy = Caller.Current.Name });
        db.Note("dataset.created", $"dataset/{name}");
        try { await db.SaveChangesAsync(cancel); }
        catch (DbUpdateException) when (!cancel.IsCancellationRequested)
        {
            // Made by another at the same moment, which is as good.
            await using ArmoFlowDbContext again = await contexts.CreateDbContextAsync(cancel);
            if (!await again.Datasets.AnyAsync(d => d.Name == name, cancel)) throw;
        }
    }

    /// <summary>True for the name of a file of a kind that can be read.</summary>
    public static bool CanRead(string file) => Kinds.Contains(Path.GetExtension(file.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? file[..^3] : file).ToLowerInvariant());

    /// <summary>Takes a file's bytes into the store and enters it as a new version; a file that is there already changes nothing.</summary>
    /// <param name="name">The data set; made if it is not there.</param>
    /// <param name="fileName">The file's name; its extension says how it is read.</param>
    /// <param name="content">Its bytes.</param>
    /// <param name="cancel">Gives up; nothing is entered then.</param>
    /// <exception cref="DatasetException">The name is none, or the file is of a kind that cannot be read.</exception>
    public async Task<DatasetAddition> Add(string name, string fileName, Stream content, CancellationToken cancel)
    {
        string file = Path.GetFileName(fileName.Replace('\\', '/'));
        if (!CanRead(file) || file.Length > 200) throw new DatasetException($"file '{file}': expected .json, .jsonl, .json.gz, .jsonl.gz or .parquet.");
        await Create(name, cancel);
        ArtifactRef artifact = await artifacts.Put(async path =>
        {
            await using FileStream target = File.Create(path);
            await content.CopyToAsync(target, cancel);
        }, cancel);
        if (artifact.Bytes == 0) throw new DatasetException($"file '{file}': it is empty; expected rows.");
        long? rows = await CountRows(await artifacts.Open(artifact.Sha256, cancel), file, cancel);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        if (db.Database.IsNpgsql()) await db.Database.ExecuteSqlAsync($"select 1 from datasets where name = {name} for update", cancel); // versions one after the other
        if (await db.DatasetFiles.AsNoTracking().SingleOrDefaultAsync(f => f.Dataset == name && f.Sha256 == artifact.Sha256, cancel) is { } known)
            return new DatasetAddition(name, known.Version, known.FileName, known.Sha256, known.Bytes, known.Rows, IsNew: false);
        int version = (await db.DatasetFiles.Where(f => f.Dataset == name).MaxAsync(f => (int?)f.Version, cancel) ?? 0) + 1;
        db.DatasetFiles.Add(new DatasetFile { Dataset = name, Sha256 = artifact.Sha256, Version = version, FileName = file, Bytes = artifact.Bytes, Rows = rows, AddedAt = time.GetUtcNow(), AddedBy = Caller.Current.Name });
        db.Note("dataset.added", $"dataset/{name}", after: new { version, file, artifact.Sha256, artifact.Bytes, rows });
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
        return new DatasetAddition(name, version, file, artifact.Sha256, artifact.Bytes, rows, IsNew: true);
    }

    /// <summary>A spec whose data sets are settled on the versions that are newest now, so that the run can be made again.</summary>
    /// <exception cref="DatasetException">It reads one that is not there, or is empty.</exception>
    public static async Task<RunSpec> Pin(ArmoFlowDbContext db, RunSpec spec, CancellationToken cancel)
    {
        Dictionary<string, string> pinned = [];
        foreach (string file in DatasetReference.FilesOf(spec))
            if (DatasetReference.TryParse(file) is { } reference)
            {
                int newest = await Newest(db, reference.Name, cancel);
                if (newest == 0 || reference.Version > newest) throw new DatasetException($"'{file}': the data set has {(newest == 0 ? "no file yet" : $"{newest} versions")}. Add files with: armoflow datasets add {reference.Name} FILE.");
                pinned[file] = (reference with { Version = reference.Version ?? newest }).ToString();
            }
        return pinned.Count == 0 ? spec : DatasetReference.Replace(spec, f => pinned.GetValueOrDefault(f, f));
    }

    private static async Task<int> Newest(ArmoFlowDbContext db, string name, CancellationToken cancel)
    {
        if (!await db.Datasets.AnyAsync(d => d.Name == name, cancel)) throw new DatasetException($"no data set '{name}'. See: armoflow datasets list.", Refusal.Missing);
        return await db.DatasetFiles.Where(f => f.Dataset == name).MaxAsync(f => (int?)f.Version, cancel) ?? 0;
    }

    /// <summary>For policies: what a file brings. JSONL alone is counted; the rows themselves are checked when a run reads them.</summary>
    private static async Task<long?> CountRows(string path, string name, CancellationToken cancel)
    {
        bool isZipped = name.EndsWith(".gz", StringComparison.OrdinalIgnoreCase);
        string bare = isZipped ? name[..^3] : name;
        if (!bare.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase) && !bare.EndsWith(".ndjson", StringComparison.OrdinalIgnoreCase)) return null;
        try
        {
            await using FileStream file = File.OpenRead(path);
            using StreamReader reader = new(isZipped ? new GZipStream(file, CompressionMode.Decompress) : file);
            long rows = 0;
            while (await reader.ReadLineAsync(cancel) is { } line)
                if (!string.IsNullOrWhiteSpace(line)) rows++;
            return rows;
        }
        catch (InvalidDataException) { throw new DatasetException($"file '{name}': its gzip is damaged. Fetch it again."); }
    }
}

/// <summary>A data set is not there, or cannot be so.</summary>
public sealed class DatasetException(string message, Refusal refusal = Refusal.Unusable) : RefusedException(message, refusal);
