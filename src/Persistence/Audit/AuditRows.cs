using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Parquet;
using Parquet.Serialization;
using Parquet.Serialization.Attributes;

namespace ArmoFlow.Persistence.Audit;

/// <summary>What the rows of a file are: as of which event, and whether they are all.</summary>
/// <param name="Sequence">The newest event when they were read.</param>
/// <param name="Hash">Its hash.</param>
/// <param name="At">When that was.</param>
/// <param name="IsPart">True where others were left out.</param>
public sealed record RowsHeading(long Sequence, string Hash, DateTimeOffset At, bool IsPart);

/// <summary>
/// Audited rows in a file: a heading, then each row as {"table", "key", "row"}, one JSON document a line or as a Parquet table.
/// 'row' is what its digest is computed of.
/// </summary>
public static class AuditRows
{
    private const int RowsPerGroup = 50_000;
    private const string RowLine = "{\"table\":";
    private static readonly JsonSerializerOptions Text = new(JsonSerializerDefaults.Web)
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    /// <summary>True for a line that holds a row, or the heading of rows, and not an event.</summary>
    public static bool IsRow(string line) => line.StartsWith(RowLine, StringComparison.Ordinal)
        || line.StartsWith("{\"heading\":", StringComparison.Ordinal);

    internal static async Task Write(Stream target, RowsHeading heading, IAsyncEnumerable<RowValues> rows, bool asParquet,
        CancellationToken cancel)
    {
        if (asParquet)
        {
            IEnumerable<Row> table = rows.ToBlockingEnumerable(cancel).Select(r =>
                new Row { Table = r.Table, Key = r.Key, Content = r.ToJson() });
            await ParquetSerializer.SerializeAsync(table.Prepend(new Row { Content = JsonSerializer.Serialize(heading, Text) }), target,
                new ParquetOptions { RowGroupSize = RowsPerGroup }, cancellationToken: cancel);
            return;
        }
        await target.WriteAsync(Encoding.UTF8.GetBytes($"{{\"heading\":{JsonSerializer.Serialize(heading, Text)}}}\n"), cancel);
        await foreach (RowValues row in rows.WithCancellation(cancel))
        {
            string line = $"{RowLine}{JsonSerializer.Serialize(row.Table, Text)},\"key\":{row.Key},\"row\":{row.ToJson()}}}\n";
            await target.WriteAsync(Encoding.UTF8.GetBytes(line), cancel);
        }
    }

    /// <exception cref="JsonException">The file does not begin with a heading.</exception>
    public static async Task<RowsHeading> ReadHeading(string path)
    {
        await foreach ((string table, string _, string content) in Lines(path))
        {
            if (table.Length == 0)
            {
                return JsonSerializer.Deserialize<RowsHeading>(content, Text)
                ?? throw new JsonException("the heading is null");
            }
        }
        throw new JsonException("no heading: expected rows of armoflow audit export --rows");
    }

    internal static async IAsyncEnumerable<RowValues> Read(string path, [EnumeratorCancellation] CancellationToken cancel = default)
    {
        await foreach ((string table, string key, string content) in Lines(path).WithCancellation(cancel))
        {
            if (table.Length == 0) continue;
            using JsonDocument row = JsonDocument.Parse(content);
            List<string> columns = [], values = [];
            foreach (JsonProperty column in row.RootElement.EnumerateObject())
            {
                columns.Add(column.Name);
                values.Add(column.Value.ValueKind == JsonValueKind.String ? JsonSerializer.Serialize(column.Value.GetString(), Text)
                    : column.Value.GetRawText());
            }
            yield return new RowValues(table, key, columns, values);
        }
    }

    /// <summary>Puts the events and the rows of one file of JSON lines into a file each.</summary>
    /// <param name="both">The file.</param>
    /// <param name="events">Where the events go.</param>
    /// <param name="eventsAsParquet">True for a table, else JSON lines.</param>
    /// <param name="rows">Where the rows go.</param>
    /// <param name="rowsAsParquet">True for a table, else JSON lines.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task Split(string both, Stream events, bool eventsAsParquet, Stream rows, bool rowsAsParquet,
        CancellationToken cancel)
    {
        if (eventsAsParquet) await AuditParquet.Write(events, AuditStore.ReadExport(both), cancel);
        else await CopyLines(both, events, line => !IsRow(line), cancel);
        if (rowsAsParquet) await Write(rows, await ReadHeading(both), Read(both, cancel), asParquet: true, cancel);
        else await CopyLines(both, rows, IsRow, cancel);
    }

    private static async Task CopyLines(string source, Stream target, Func<string, bool> isWanted, CancellationToken cancel)
    {
        await foreach (string line in File.ReadLinesAsync(source, cancel))
            if (isWanted(line)) await target.WriteAsync(Encoding.UTF8.GetBytes(line + "\n"), cancel);
    }

    private static async IAsyncEnumerable<(string Table, string Key, string Content)> Lines(string path)
    {
        if (AuditParquet.IsParquet(path))
        {
            int groups;
            await using (ParquetReader reader = await ParquetReader.CreateAsync(path)) groups = reader.RowGroupCount;
            for (int g = 0; g < groups; g++)
            {
                await using FileStream stream = File.OpenRead(path);
                foreach (Row row in (await ParquetSerializer.DeserializeAsync<Row>(stream, rowGroupIndex: g))
                    .Data) yield return (row.Table, row.Key, row.Content);
            }
            yield break;
        }
        await foreach (string line in File.ReadLinesAsync(path))
        {
            if (!IsRow(line)) continue;
            using JsonDocument document = JsonDocument.Parse(line);
            if (document.RootElement.TryGetProperty("heading", out JsonElement heading)) yield return ("", "", heading.GetRawText());
            else
            {
                yield return (document.RootElement.GetProperty("table").GetString()!, document.RootElement.GetProperty("key")
                .GetRawText(), document.RootElement.GetProperty("row").GetRawText());
            }
        }
    }

    private sealed class Row
    {
        [JsonPropertyName("table"), ParquetRequired]
        public string Table { get; set; } = "";

        [JsonPropertyName("key"), ParquetRequired]
        public string Key { get; set; } = "";

        [JsonPropertyName("row"), ParquetRequired]
        public string Content { get; set; } = "";
    }
}
