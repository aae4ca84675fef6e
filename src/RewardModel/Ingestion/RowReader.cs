using System.Text.Json;
using ArmoFlow.RewardModel.Files;
using Parquet;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>One row of a source file: where it stands, for errors, and its fields.</summary>
public readonly record struct SourceRow(string Place, JsonElement Fields)
{
    /// <summary>Halves of surrogate pairs in its texts, which were read as U+FFFD.</summary>
    public int Replaced { get; init; }

    /// <summary>
    /// Takes what is whole but worthless within the row (one empty response of four); null where the row must do without.
    /// </summary>
    public Action<InvalidInputException>? LeaveOut { get; init; }
}

/// <summary>Streams the rows of JSON, JSONL, gzipped and Parquet files; memory holds one row (Parquet: one row group).</summary>
public static class RowReader
{
    private static readonly TimeSpan LongestRowGroup = TimeSpan.FromMinutes(10);

    /// <summary>Reads one file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="shownAs">How errors name it; its extension says the kind: .json, .jsonl, .ndjson, each also with .gz, or
    /// .parquet.</param>
    /// <param name="cancel">Stops the reading.</param>
    /// <exception cref="InvalidInputException">The file is missing, damaged, or of another kind.</exception>
    public static IAsyncEnumerable<SourceRow> Read(string path, string shownAs, CancellationToken cancel = default)
    {
        InputFile.OpenData(path, shownAs).Dispose();
        string name = shownAs.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? shownAs[..^3] : shownAs;
        return Path.GetExtension(name).ToLowerInvariant() switch
        {
            ".parquet" when name == shownAs => ReadParquet(path, shownAs, cancel),
            ".json" or ".jsonl" or ".ndjson" => JsonRows.Read(path, shownAs, cancel),
            string other => throw new InvalidInputException(shownAs, $"a file of kind '{other}'",
                ".json, .jsonl, .json.gz, .jsonl.gz or .parquet", "Convert the file, or give it its right extension."),
        };
    }

    private static async IAsyncEnumerable<SourceRow> ReadParquet(string path, string shownAs,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        int groups = 0;
        string[] columns = [];
        try
        {
            ParquetCheck.Require(path);
            await using ParquetReader reader = await ParquetReader.CreateAsync(path, cancellationToken: cancel);
            groups = reader.RowGroupCount;
            columns = [.. reader.Schema.Fields.Select(f => f.Name)];
        }
        catch (Exception e) when (e is not OperationCanceledException) { throw Damaged(shownAs, e); }
        long number = 0;
        for (int g = 0; g < groups; g++)
        {
            IList<Dictionary<string, object?>> rows;
            try
            {
                rows = await ReadGroup(path, g, cancel).WaitAsync(LongestRowGroup, cancel);
            }
            catch (TimeoutException)
            {
                throw new InvalidInputException(shownAs, $"row group {g + 1} was not read in {LongestRowGroup.TotalMinutes:f0} minutes",
                    "a Parquet file that can be read", "The file is damaged, or its row groups are too large: write it anew.");
            }
            catch (Exception e) when (e is not OperationCanceledException and not InvalidInputException) { throw Damaged(shownAs, e); }
            foreach (Dictionary<string, object?> row in rows)
            {
                JsonElement fields;
                try { fields = ParquetTable.ToJson(row, columns); }
                catch (Exception e) when (e is not OperationCanceledException)
                {
                    throw Damaged($"{shownAs} row {number + 1}", e);
                }
                yield return new SourceRow($"{shownAs} row {++number}", fields);
            }
        }
    }

    /// <summary>
    /// On a thread of its own: where the library does not come back, whoever waits for it does, and whoever cancels is heard.
    /// </summary>
    private static Task<IList<Dictionary<string, object?>>> ReadGroup(string path, int group, CancellationToken cancel) =>
        Task.Run(async () =>
        {
            await using FileStream stream = File.OpenRead(path);
            return ParquetTable.Rows(await Parquet.Serialization.ParquetSerializer.DeserializeUntypedAsync(stream, rowGroupIndex: group,
                cancellationToken: cancel));
        }, cancel);

    private static InvalidInputException Damaged(string shownAs, Exception e)
    {
        Exception cause = e;
        while (cause.InnerException is { } inner) cause = inner;
        if (cause is not (NotImplementedException or NotSupportedException))
        {
            return new InvalidInputException(shownAs, $"not a readable Parquet file ({e.Message.Split('\n')[0]})", "a whole Parquet file",
                "Fetch the file again.");
        }
        // The one case that is met in practice: Rust's writers with version 2 of the format.
        bool isPage = cause.StackTrace?.Contains("PageV2", StringComparison.Ordinal) == true;
        string what = isPage ? "lists in data pages of version 2" : cause.Message.Split('\n')[0];
        string detail = ReferenceEquals(cause, e) ? "" : $" ({e.Message.Split('\n')[0]})";
        return new InvalidInputException(shownAs, $"Parquet that ArmoFlow does not read yet: {what}{detail}",
            isPage ? "lists in data pages of version 1, as most programs write them" : "a Parquet file without it",
            "Write the file again, for example with DuckDB: COPY (FROM 'old.parquet') TO 'new.parquet'; or with pyarrow: "
                + "data_page_version='1.0'.");
    }
}
