using System.Globalization;
using System.Text.Json.Serialization;
using Parquet;
using Parquet.Serialization;
using Parquet.Serialization.Attributes;

namespace ArmoFlow.Persistence.Audit;

/// <summary>
/// Events as a Parquet table, for those who ask it with SQL; times are text in UTC with seven decimals, as the hashes have them.
/// </summary>
public static class AuditParquet
{
    private const int RowsPerGroup = 50_000;

    public static bool IsParquet(string path) => path.EndsWith(".parquet", StringComparison.OrdinalIgnoreCase);

    /// <summary>Writes events, a row group in memory at a time.</summary>
    public static async Task Write(Stream target, IAsyncEnumerable<AuditEvent> events, CancellationToken cancel) =>
        await ParquetSerializer.SerializeAsync(events.ToBlockingEnumerable(cancel).Select(Row.Of), target,
            new ParquetOptions { RowGroupSize = RowsPerGroup }, cancellationToken: cancel);

    public static async IAsyncEnumerable<AuditEvent> Read(string path)
    {
        int groups;
        await using (ParquetReader reader = await ParquetReader.CreateAsync(path)) groups = reader.RowGroupCount;
        for (int g = 0; g < groups; g++)
        {
            await using FileStream stream = File.OpenRead(path);
            foreach (Row row in (await ParquetSerializer.DeserializeAsync<Row>(stream, rowGroupIndex: g)).Data) yield return row.ToEvent();
        }
    }

    private sealed class Row
    {
        [JsonPropertyName("sequence")]
        public long Sequence { get; set; }

        [JsonPropertyName("at"), ParquetRequired]
        public string At { get; set; } = "";

        [JsonPropertyName("actor"), ParquetRequired]
        public string Actor { get; set; } = "";

        [JsonPropertyName("action"), ParquetRequired]
        public string Action { get; set; } = "";

        [JsonPropertyName("subject"), ParquetRequired]
        public string Subject { get; set; } = "";

        [JsonPropertyName("before")]
        public string? Before { get; set; }

        [JsonPropertyName("after")]
        public string? After { get; set; }

        [JsonPropertyName("request_id")]
        public string? RequestId { get; set; }

        [JsonPropertyName("rows")]
        public string? Rows { get; set; }

        [JsonPropertyName("previous_hash"), ParquetRequired]
        public string PreviousHash { get; set; } = "";

        [JsonPropertyName("hash"), ParquetRequired]
        public string Hash { get; set; } = "";

        public static Row Of(AuditEvent e) => new()
        {
            Sequence = e.Sequence,
            At = e.At.UtcDateTime.ToString("O", CultureInfo.InvariantCulture),
            Actor = e.Actor,
            Action = e.Action,
            Subject = e.Subject,
            Before = e.Before,
            After = e.After,
            RequestId = e.RequestId,
            Rows = e.Rows,
            PreviousHash = e.PreviousHash,
            Hash = e.Hash,
        };

        public AuditEvent ToEvent() => new()
        {
            Sequence = Sequence,
            At = DateTimeOffset.Parse(At, CultureInfo.InvariantCulture),
            Actor = Actor,
            Action = Action,
            Subject = Subject,
            Before = Before,
            After = After,
            RequestId = RequestId,
            Rows = Rows,
            PreviousHash = PreviousHash,
            Hash = Hash,
        };
    }
}
