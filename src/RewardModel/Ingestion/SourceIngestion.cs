namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>What one source held: every row read is kept, dropped with its reason, or a duplicate.</summary>
public sealed record SourceReport
{
    /// <summary>The source's name.</summary>
    public required string Name { get; init; }

    /// <summary>What it holds: ratings, preferences or a benchmark.</summary>
    public required string Kind { get; init; }

    /// <summary>The format of its rows.</summary>
    public required string Format { get; init; }

    /// <summary>The files that were read.</summary>
    public required IReadOnlyList<string> Files { get; init; }

    /// <summary>Rows read.</summary>
    public long RowsRead { get; set; }

    /// <summary>Items kept.</summary>
    public long Kept { get; set; }

    /// <summary>Items left out because an equal one came before.</summary>
    public long Duplicates { get; set; }

    /// <summary>Rows left out because a conversation of theirs is to be forgotten.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingDefault)]
    public long Forgotten { get; set; }

    /// <summary>Files left out whole because their bytes are to be forgotten.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingDefault)]
    public int ForgottenFiles { get; set; }

    /// <summary>Reason → how many rows were left out for it.</summary>
    public SortedDictionary<string, long> Dropped { get; init; } = new(StringComparer.Ordinal);

    /// <summary>Places of rows that were left out, with their reasons.</summary>
    public List<string> DroppedRows { get; init; } = [];

    /// <summary>Rows that are whole and give no item: no pair, or no response.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingDefault)]
    public long RowsWithoutItems { get; set; }

    /// <summary>Responses that are kept without any rating.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingDefault)]
    public long Unrated { get; set; }

    /// <summary>Rows in whose texts halves of surrogate pairs were read as U+FFFD.</summary>
    [System.Text.Json.Serialization.JsonIgnore(Condition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingDefault)]
    public long RowsWithReplacedText { get; set; }

    /// <summary>By objective: how many ratings, and the smallest and largest after rescaling.</summary>
    public SortedDictionary<string, RatingRange> Ranges { get; init; } = new(StringComparer.Ordinal);
}

/// <summary>The ratings of one objective, after rescaling.</summary>
/// <param name="Count">How many there are.</param>
/// <param name="Min">The smallest.</param>
/// <param name="Max">The largest.</param>
public sealed record RatingRange(long Count, double Min, double Max)
{
    /// <summary>The range with one rating more.</summary>
    /// <param name="value">The rating.</param>
    public RatingRange With(double value) => new(Count + 1, Math.Min(Min, value), Math.Max(Max, value));

    /// <summary>The range of one rating.</summary>
    /// <param name="value">The rating.</param>
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

    private static void Count<T>(T item, bool isNew, SourceReport report)
    {
        if (!isNew)
        {
            report.Duplicates++;
            return;
        }
        report.Kept++;
        if (item is RatedResponse { Ratings.Count: 0 }) report.Unrated++;
    }

    private static void RequireUsable(Source source, SourceReport report, long dropped, InvalidInputException? firstStray)
    {
        long all = dropped + report.Kept + report.Duplicates + report.Forgotten;
        if (dropped > source.MaxDroppedShare * all)
        {
            throw new InvalidInputException(firstStray!.Place,
                $"{firstStray.StrayRow}, and {dropped} such rows of {all} in source '{source.Name}'",
                $"at most {source.MaxDroppedShare:P1} of a source's rows to be unusable",
                "Clean the file, or raise the source's 'maxDroppedShare'.");
        }
        if (report.Kept > 0) return;
        string read = report.RowsRead > 0 ? $" ({report.RowsRead:N0} were read)" : "";
        throw new InvalidInputException(source.Files.Count > 0 ? source.Files[0].ShownAs : source.Name,
            $"no usable row in source '{source.Name}'{read}", "at least one row", "Check the files and the format.");
    }

    /// <summary>Reads every row of a source.</summary>
    /// <param name="source">The source; its stray rows are left out while their share stays within its limit.</param>
    /// <param name="read">One row's items.</param>
    /// <param name="identity">What makes an item a duplicate of an earlier one of this source.</param>
    /// <param name="report">Receives the counts.</param>
    /// <param name="cancel">Stops the reading.</param>
    /// <exception cref="InvalidInputException">A row is damaged, or more rows are stray than the source tolerates.</exception>
    public static async IAsyncEnumerable<T> Items<T>(Source source, Func<SourceRow, IEnumerable<T>> read, Func<T, string> identity,
        SourceReport report,
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
                if (row.Replaced > 0) report.RowsWithReplacedText++;
                foreach (T item in ItemsOf(row))
                {
                    bool isNew = seen.Add(Fingerprint(identity(item)));
                    Count(item, isNew, report);
                    if (isNew) yield return item;
                }
            }
        }
        RequireUsable(source, report, Dropped(), firstStray);
        List<T> ItemsOf(SourceRow row)
        {
            long droppedBefore = Dropped();
            List<T> items = [];
            try { items = [.. read(row with { LeaveOut = source.MaxDroppedShare > 0 ? Drop : null })]; }
            catch (InvalidInputException e) when (e.StrayRow is not null && source.MaxDroppedShare > 0) { Drop(e); }
            if (items.Count == 0 && Dropped() == droppedBefore) report.RowsWithoutItems++;
            return items;
        }
        long Dropped() => report.Dropped.Values.Sum();
        void Drop(InvalidInputException e)
        {
            firstStray ??= e;
            report.Dropped[e.StrayRow!] = report.Dropped.GetValueOrDefault(e.StrayRow!) + 1;
            if (report.DroppedRows.Count < DroppedRowsListed) report.DroppedRows.Add($"{e.Place}: {e.StrayRow}");
        }
    }

    /// <summary>128 bits of the identity's hash: enough for any count of rows, and 16 bytes each in memory.</summary>
    private static UInt128 Fingerprint(string identity) =>
        System.Buffers.Binary.BinaryPrimitives.ReadUInt128LittleEndian(
            System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(identity)));
}
