using System.Text.Json;
using ArmoFlow.Persistence.Artifacts;

namespace ArmoFlow.Persistence.Datasets;

/// <summary>
/// How many rows a file brings, for policies. A file that no run could read is refused here, before it is part of a data set; what
/// its rows hold is checked when a run reads them.
/// </summary>
internal static class RowCount
{
    private const int PartShown = 40;

    /// <param name="path">The file.</param>
    /// <param name="name">Its name, whose extension says the kind.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="DatasetException">It is damaged, or its lines are no JSON.</exception>
    public static async Task<long> Of(string path, string name, CancellationToken cancel)
    {
        bool isZipped = name.EndsWith(".gz", StringComparison.OrdinalIgnoreCase);
        try
        {
            if (name.EndsWith(".parquet", StringComparison.OrdinalIgnoreCase))
            {
                ParquetCheck.Require(path);
                return await ParquetColumn.Rows(path, cancel);
            }
            bool isArray = await IsArray(path, isZipped, cancel);
            await using Stream text = Open(path, isZipped);
            return isArray ? await Items(text, name, cancel) : await Lines(text, name, cancel);
        }
        catch (Exception e)
            when (e is InvalidDataException or EndOfStreamException or JsonException
                || (e is IOException && name.EndsWith(".parquet", StringComparison.OrdinalIgnoreCase)))
        {
            string container = isZipped ? "gzip" : "Parquet table";
            string kind = e is JsonException ? "JSON array" : container;
            throw new DatasetException($"file '{name}': its {kind} is damaged ({e.Message.Split('\n')[0].TrimEnd('.')}). Fetch it again.");
        }
    }

    private static Stream Open(string path, bool isZipped)
    {
        FileStream file = File.OpenRead(path);
        return isZipped ? new BoundedInflate(file, file.Length) : file;
    }

    private static async Task<bool> IsArray(string path, bool isZipped, CancellationToken cancel)
    {
        using StreamReader reader = new(Open(path, isZipped));
        char[] one = new char[1];
        while (await reader.ReadAsync(one, cancel) == 1)
            if (!char.IsWhiteSpace(one[0])) return one[0] == '[';
        return false;
    }

    private static async Task<long> Items(Stream text, string name, CancellationToken cancel)
    {
        long rows = 0;
        await foreach (JsonElement item in JsonSerializer.DeserializeAsyncEnumerable<JsonElement>(text, JsonSerializerOptions.Default,
            cancel))
        {
            rows++;
            if (item.ValueKind != JsonValueKind.Object)
            {
                throw new DatasetException(
                    $"file '{name}' item {rows}: a JSON {item.ValueKind}; expected an object. Correct the file; nothing was added.");
            }
        }
        return rows;
    }

    private static bool IsObject(string line)
    {
        try
        {
            using JsonDocument row = JsonDocument.Parse(line);
            return row.RootElement.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException) { return false; }
    }

    private static async Task<long> Lines(Stream text, string name, CancellationToken cancel)
    {
        using StreamReader reader = new(text);
        BoundedLines lines = new(reader);
        long rows = 0, number = 0;
        while (await lines.Next(cancel) is { } line)
        {
            number++;
            if (string.IsNullOrWhiteSpace(line)) continue;
            rows++;
            if (IsObject(line)) continue;
            // A file whose first line is none may be anything, and is not shown.
            string found = rows == 1 ? "the first line" : $"'{(line.Length > PartShown ? line[..PartShown] + "…" : line)}'";
            throw new DatasetException($"file '{name}' line {number}: {found} is no JSON object; expected one on each line. "
                + "Correct the file; nothing was added.");
        }
        return rows;
    }
}
