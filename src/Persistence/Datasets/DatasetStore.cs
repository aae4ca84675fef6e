using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Retention;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Datasets;

/// <summary>Named data sets, their files in the artifact store.</summary>
public sealed class DatasetStore(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, TimeProvider time)
{
    private static readonly string[] Kinds = [".json", ".jsonl", ".ndjson", ".parquet"];

    public async Task<IReadOnlyList<DatasetDocument>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        ILookup<string, DatasetFile> files = (await db.DatasetFiles.AsNoTracking().ToListAsync(cancel)).ToLookup(f => f.Dataset);
        return [.. (await db.Datasets.AsNoTracking()
            .OrderBy(d => d.Name)
            .ToListAsync(cancel)).Select(d => Document(d, [.. files[d.Name]]))];
    }

    /// <summary>The files of a version, oldest first; of the newest if none is given.</summary>
    /// <exception cref="DatasetException">There is no such data set or version.</exception>
    public async Task<IReadOnlyList<DatasetFile>> Files(string name, int? version, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        int newest = await Newest(db, name, cancel);
        int which = version ?? newest;
        if (which > newest) throw new DatasetException($"data set '{name}' has no version {version}; its newest is {newest}.");
        return await db.DatasetFiles.AsNoTracking()
            .Where(f => f.Dataset == name && f.Version <= which && (f.WithdrawnIn == null || f.WithdrawnIn > which))
            .OrderBy(f => f.Version)
            .ThenBy(f => f.FileName)
            .ThenBy(f => f.Sha256)
            .ToListAsync(cancel);
    }

    /// <summary>Makes an empty data set; one that is there stays as it is.</summary>
    public async Task Create(string name, CancellationToken cancel)
    {
        if (!DatasetReference.IsName(name))
            throw new DatasetException($"data set '{name}': expected a name of letters, digits, '-', '_' and '.'.");
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

    /// <summary>Opens a file that is to be added.</summary>
    /// <exception cref="DatasetException">It is no regular file, or not there.</exception>
    public static FileStream Open(string path)
    {
        if (RegularFile.OtherKind(path) is { } kind)
            throw new DatasetException($"'{path}': {kind}; expected a regular file. Write the data to a file and add that.");
        if (!File.Exists(path)) throw new DatasetException($"'{path}': no such file. Check the path.");
        return File.OpenRead(path);
    }

    /// <summary>True for the name of a file of a kind that can be read.</summary>
    public static bool CanRead(string file) =>
        Kinds.Contains(Path.GetExtension(file.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? file[..^3] : file).ToLowerInvariant());

    /// <summary>Takes a file's bytes into the store and enters it as a new version; a file that is there already changes nothing.</summary>
    /// <param name="name">The data set; made if it is not there.</param>
    /// <param name="fileName">The file's name; its extension says how it is read.</param>
    /// <param name="content">Its bytes.</param>
    /// <param name="cancel">Gives up; nothing is entered then.</param>
    /// <exception cref="DatasetException">The name is not valid, or the file is of a kind that cannot be read.</exception>
    public async Task<DatasetAddition> Add(string name, string fileName, Stream content, CancellationToken cancel)
    {
        string file = RequireName(fileName);
        await Create(name, cancel);
        long rows = 0;
        ArtifactRef artifact = await artifacts.Put(async path =>
        {
            await using (FileStream target = File.Create(path)) await content.CopyToAsync(target, cancel);
            if (RegularFile.Length(path) == 0) throw new DatasetException($"file '{file}': it is empty; expected rows.");
            rows = await RowCount.Of(path, file, cancel); // before it is in the store: what is refused leaves nothing there
        }, cancel);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        await OneAtATime(db, name, cancel); // versions one after the other
        await RequireNotForgotten(db, file, artifact.Sha256, cancel);
        DatasetFile? known =
            await db.DatasetFiles.AsNoTracking().SingleOrDefaultAsync(f => f.Dataset == name && f.Sha256 == artifact.Sha256, cancel);
        if (known is not null)
        {
            if (known.WithdrawnIn is { } since) throw Withdrawn(name, file, since);
            return new DatasetAddition(name, known.Version, known.FileName, known.Sha256, known.Bytes, known.Rows, IsNew: false);
        }
        int version = await Newest(db, name, cancel) + 1;
        db.DatasetFiles.Add(new DatasetFile
        {
            Dataset = name,
            Sha256 = artifact.Sha256,
            Version = version,
            FileName = file,
            Bytes = artifact.Bytes,
            Rows = rows,
            AddedAt = time.GetUtcNow(),
            AddedBy = Caller.Current.Name
        });
        db.Note("dataset.added", $"dataset/{name}", after: new { version, file, artifact.Sha256, artifact.Bytes, rows });
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
        return new DatasetAddition(name, version, file, artifact.Sha256, artifact.Bytes, rows, IsNew: true);
    }

    /// <summary>A file's own name, without folders.</summary>
    private static string RequireName(string fileName)
    {
        string file = Path.GetFileName(fileName.Replace('\\', '/'));
        if (CanRead(file) && file.Length <= 200) return file;
        throw new DatasetException($"file '{file}': expected .json, .jsonl, .json.gz, .jsonl.gz or .parquet.");
    }

    private async Task RequireNotForgotten(ArmoFlowDbContext db, string file, string sha256, CancellationToken cancel)
    {
        Exclusion? forgotten = await db.Exclusions.AsNoTracking()
            .SingleOrDefaultAsync(e => e.Kind == ExclusionKind.File && e.Value == sha256 && e.LiftedAt == null, cancel);
        if (forgotten is null) return;
        await artifacts.Delete(sha256, cancel);
        throw new DatasetException($"file '{file}': {forgotten}, whatever it is called now. See: armoflow forget list.");
    }

    private static DatasetException Withdrawn(string dataset, string file, int version) =>
        new($"file '{file}': its bytes were withdrawn from '{dataset}' in version {version}. See why: armoflow "
            + $"audit query --where \"subject = 'dataset/{dataset}'\". To add it all the same, change it: a blank line at its end "
            + "is enough.");

    /// <summary>Makes a version without a file; earlier versions keep it, and so do the runs that read them.</summary>
    /// <param name="name">The data set.</param>
    /// <param name="file">The file's sha256, or its name where one file alone has it.</param>
    /// <param name="reason">Why.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="DatasetException">There is no such data set or file, or no reason.</exception>
    public async Task<DatasetFile> Withdraw(string name, string file, string reason, CancellationToken cancel)
    {
        if (string.IsNullOrWhiteSpace(reason)) throw new DatasetException("withdrawing a file needs a reason: --reason TEXT.");
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        await OneAtATime(db, name, cancel);
        int newest = await Newest(db, name, cancel);
        List<DatasetFile> found = await db.DatasetFiles.Where(f => f.Dataset == name
            && f.WithdrawnIn == null
            && (f.Sha256 == file || f.FileName == file)).ToListAsync(cancel);
        if (found.Count != 1)
        {
            throw new DatasetException(found.Count == 0
                ? $"data set '{name}' has no file '{file}'. See: armoflow datasets show {name}."
                : $"data set '{name}' has {found.Count} files '{file}'. Give the sha256 of one: "
                    + $"{string.Join(", ", found.Select(f => f.Sha256))}.",
                found.Count == 0 ? Refusal.Missing : Refusal.Unusable);
        }
        found[0].WithdrawnIn = newest + 1;
        db.Note("dataset.withdrawn", $"dataset/{name}", new { version = newest },
            new { version = newest + 1, file = found[0].FileName, found[0].Sha256, reason });
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
        return found[0];
    }

    private static async Task OneAtATime(ArmoFlowDbContext db, string name, CancellationToken cancel)
    {
        if (db.Database.IsNpgsql()) await db.Database.ExecuteSqlAsync($"select 1 from datasets where name = {name} for update", cancel);
    }

    private static DatasetDocument Document(Dataset set, IReadOnlyList<DatasetFile> all)
    {
        DatasetFile[] files = [.. all.Where(f => f.WithdrawnIn is null)];
        return new DatasetDocument(set.Name, all.Select(f => f.WithdrawnIn ?? f.Version).DefaultIfEmpty().Max(), files.Length,
            files.Sum(f => f.Bytes), files.All(f => f.Rows is not null) ? files.Sum(f => f.Rows) : null,
                set.CreatedAt, all.Count > 0 ? all.Max(f => f.AddedAt) : null);
    }

    /// <summary>A spec whose data sets are settled on the versions that are newest now, so that the run can be made again.</summary>
    /// <exception cref="DatasetException">It reads one that is not there, or is empty.</exception>
    public static async Task<RunSpec> Pin(ArmoFlowDbContext db, RunSpec spec, CancellationToken cancel)
    {
        Dictionary<string, string> pinned = [];
        foreach (string file in DatasetReference.FilesOf(spec))
        {
            if (DatasetReference.TryParse(file) is { } reference)
            {
                int newest = await Newest(db, reference.Name, cancel), which = reference.Version ?? newest;
                if (which <= newest
                    && newest > 0
                    && !await db.DatasetFiles.AnyAsync(f => f.Dataset == reference.Name
                        && f.Version <= which
                        && (f.WithdrawnIn == null || f.WithdrawnIn > which), cancel))
                {
                    throw new DatasetException($"'{file}': all files of version {which} of the data set were withdrawn. Add files with: "
                        + $"armoflow datasets add {reference.Name} FILE.");
                }
                if (newest == 0 || reference.Version > newest)
                {
                    throw new DatasetException($"'{file}': the data set has {(newest == 0 ? "no file yet" : $"{newest} versions")}. Add "
                        + $"files with: armoflow datasets add {reference.Name} FILE.");
                }
                pinned[file] = (reference with { Version = reference.Version ?? newest }).ToString();
            }
        }
        return pinned.Count == 0 ? spec : DatasetReference.Replace(spec, f => pinned.GetValueOrDefault(f, f));
    }

    /// <summary>A data set's newest version; 0 while it is empty.</summary>
    /// <exception cref="DatasetException">There is no such data set.</exception>
    public static async Task<int> Newest(ArmoFlowDbContext db, string name, CancellationToken cancel)
    {
        if (!await db.Datasets.AnyAsync(d => d.Name == name, cancel))
            throw new DatasetException($"no data set '{name}'. See: armoflow datasets list.", Refusal.Missing);
        return await db.DatasetFiles.Where(f => f.Dataset == name).MaxAsync(f => f.WithdrawnIn ?? (int?)f.Version, cancel) ?? 0;
    }
}

/// <summary>A data set is not there, or cannot be so.</summary>
public sealed class DatasetException(string message, Refusal refusal = Refusal.Unusable) : RefusedException(message, refusal);
