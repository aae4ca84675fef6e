namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>What one source held: every row read is kept, dropped with its reason, or a duplicate.</summary>
public sealed record SourceReport
{
    public required string Name { get; init; }
    public required string Kind { get; init; }
    public required string Format { get; init; }
    public required IReadOnlyList<string> Files { get; init; }
    public long RowsRead { get; set; }
    public long Kept { get; set; }
    public long Duplicates { get; set; }

    /// <summary>Rows left out because a conversation of theirs is to be forgotten.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingDefault)]
    public long Forgotten { get; set; }

    /// <summary>Files left out whole because their bytes are to be forgotten.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingDefault)]
    public int ForgottenFiles { get; set; }
    public SortedDictionary<string, long> Dropped { get; init; } = new(StringComparer.Ordinal);
    public List<string> DroppedRows { get; init; } = [];

    /// <summary>By objective: how many ratings, and the smallest and largest after rescaling.</summary>
    public SortedDictionary<string, RatingRange> Ranges { get; init; } = new(StringComparer.Ordinal);
}

public sealed record RatingRange(long Count, double Min, double Max)
{
    public RatingRange With(double value) => new(Count + 1, Math.Min(Min, value), Math.Max(Max, value));
    public static RatingRange Of(double value) => new(1, value, value);
}

/// <summary>A source as the run's spec declares it, its globs resolved.</summary>
public sealed record Source(string Name, string Kind, string Format, IReadOnlyList<(string Path, string ShownAs)> Files,
    double MaxDroppedShare)
{
    /// <summary>Hashes of files that were left out because they are to be forgotten.</summary>
    public IReadOnlyList<string> Forgotten { get; init; } = [];

    /// <summary>How many these are.</summary>
    public int LeftOut => Forgotten.Count;
}

/// <summary>Streams a source's items and keeps its report.</summary>
public static class SourceIngestion
{
    private const int DroppedRowsListed = 20;

    /// <summary>Reads every row of a source.</summary>
    /// <param name="source">The source; its stray rows are left out while their share stays within its limit.</param>
    /// <param name="read">One row's items.</param>
    /// <param name="identity">What makes an item a duplicate of an earlier one of this source.</param>
    /// <param name="report">Receives the counts.</param>
    /// <param name="cancel">Stops the reading.</param>
    /// <exception cref="InvalidInputException">A row is damaged, or more rows are stray than the source tolerates.</exception>
    public static async IAsyncEnumerable<T> Items<T>(Source source, Func<SourceRow, IEnumerable<T>> read, Func<T, string> identity, SourceReport report,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel = default)
    {
        HashSet<UInt128> seen = [];
        InvalidInputException? firstStray = null;
        foreach ((string path, string shownAs) in source.Files)
        {
            await foreach (SourceRow row in RowReader.Read(path, shownAs, cancel))
            {
                cancel.ThrowIfCancellationRequested();
                report.RowsRead++;
                List<T> items;
                try { items = [.. read(row)]; }
                catch (InvalidInputException e) when (e.StrayRow is not null && source.MaxDroppedShare > 0)
                {
                    firstStray ??= e;
                    report.Dropped[e.StrayRow] = report.Dropped.GetValueOrDefault(e.StrayRow) + 1;
                    if (report.DroppedRows.Count < DroppedRowsListed) report.DroppedRows.Add($"{e.Place}: {e.StrayRow}");
                    continue;
                }
                foreach (T item in items)
                {
                    if (!seen.Add(Fingerprint(identity(item)))) report.Duplicates++;
                    else
                    {
                        report.Kept++;
                        yield return item;
                    }
                }
            }
        }
        long dropped = report.Dropped.Values.Sum();
        if (dropped > source.MaxDroppedShare * report.RowsRead)
            throw new InvalidInputException(firstStray!.Place, $"{firstStray.StrayRow}, and {dropped} such rows of {report.RowsRead} in source '{source.Name}'",
                $"at most {source.MaxDroppedShare:P1} of a source's rows to be unusable", "Clean the file, or raise the source's 'maxDroppedShare'.");
        if (report.Kept == 0)
            throw new InvalidInputException(source.Files.Count > 0 ? source.Files[0].ShownAs : source.Name, $"no usable row in source '{source.Name}'", "at least one row", "Check the files and the format.");
    }

    /// <summary>128 bits of the identity's hash: enough for any count of rows, and 16 bytes each in memory.</summary>
    private static UInt128 Fingerprint(string identity) =>
        System.Buffers.Binary.BinaryPrimitives.ReadUInt128LittleEndian(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(identity)));
}

/// <summary>A spec's file patterns, resolved against its folder.</summary>
public static class FilePatterns
{
    /// <summary>Files in ordinal order, so that the same folder gives the same order everywhere.</summary>
    /// <exception cref="InvalidInputException">A file is missing, or a pattern matches nothing.</exception>
    public static IReadOnlyList<(string Path, string ShownAs)> Resolve(string folder, IEnumerable<string> patterns)
    {
        List<(string, string)> files = [];
        foreach (string pattern in patterns)
        {
            string full = Path.GetFullPath(Path.Combine(folder, pattern));
            if (!pattern.Contains('*', StringComparison.Ordinal) && !pattern.Contains('?', StringComparison.Ordinal))
            {
                if (RegularFile.OtherKind(full) is { } kind) throw new InvalidInputException(pattern, kind, "a data file, in a regular file", "Write the data to a file and name that.");
                if (!File.Exists(full)) throw new InvalidInputException(pattern, $"no such file in {folder}", "a data file", "Check the path (a spec's are relative to the spec).");
                files.Add((full, pattern));
                continue;
            }
            string parent = Path.GetDirectoryName(full)!;
            string[] found = Directory.Exists(parent) ? [.. Directory.EnumerateFiles(parent, Path.GetFileName(full)).Order(StringComparer.Ordinal)] : [];
            if (found.Length == 0) throw new InvalidInputException(pattern, $"the pattern matches no file in {folder}", "at least one file", "Check the pattern (a spec's are relative to the spec).");
            files.AddRange(found.Select(f => (f, Path.Combine(Path.GetDirectoryName(pattern) ?? "", Path.GetFileName(f)))));
        }
        return files;
    }
}
