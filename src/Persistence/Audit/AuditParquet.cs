using System.Globalization;
using Parquet;
using Parquet.Serialization;
using Parquet.Serialization.Attributes;

namespace ArmoFlow.Persistence.Audit;

/// <summary>Events as a Parquet table, for those who ask it with SQL; times are text in UTC with seven decimals, as the hashes have them.</summary>
public static class AuditParquet
{
    private const int RowsPerGroup = 50_000;

    public static bool IsParquet(string path) => path.EndsWith(".parquet", StringComparison.OrdinalIgnoreCase);

    /// <summary>Writes events, a row group in memory at a time.</summary>
    public static async Task Write(Stream target, IAsyncEnumerable<AuditEvent> events, CancellationToken cancel) =>
        await ParquetSerializer.SerializeAsync(events.ToBlockingEnumerable(cancel).Select(Row.Of), target, new ParquetOptions { RowGroupSize = RowsPerGroup }, cancellationToken: cancel);

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

#pragma warning disable IDE1006, CA1812 // the table's columns are named so
    private sealed class Row
    {
        public long sequence { get; set; }

        [ParquetRequired]
        public string at { get; set; } = "";

        [ParquetRequired]
        public string actor { get; set; } = "";

        [ParquetRequired]
        public string action { get; set; } = "";

        [ParquetRequired]
        public string subject { get; set; } = "";
        public string? before { get; set; }
        public string? after { get; set; }
        public string? request_id { get; set; }

        [ParquetRequired]
        public string previous_hash { get; set; } = "";

        [ParquetRequired]
        public string hash { get; set; } = "";

        public static Row Of(AuditEvent e) => new() { sequence = e.Sequence, at = e.At.UtcDateTime.ToString("O", CultureInfo.InvariantCulture), actor = e.Actor, action = e.Action, subject = e.Subject, before = e.Before, after = e.After, request_id = e.RequestId, previous_hash = e.PreviousHash, hash = e.Hash };

        public AuditEvent ToEvent() => new() { Sequence = sequence, At = DateTimeOffset.Parse(at, CultureInfo.InvariantCulture), Actor = actor, Action = action, Subject = subject, Before = before, After = after, RequestId = request_id, PreviousHash = previous_hash, Hash = hash };
    }
#pragma warning restore IDE1006, CA1812
}
