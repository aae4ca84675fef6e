using Parquet;
using Parquet.Schema;

namespace ArmoFlow.Persistence.Artifacts;

/// <summary>Reads single columns of the tables that steps make, where the database follows what refers to what.</summary>
internal static class ParquetColumn
{
    /// <summary>How many rows a table has.</summary>
    public static async Task<long> Rows(string path, CancellationToken cancel)
    {
        await using ParquetReader reader = await ParquetReader.CreateAsync(path, cancellationToken: cancel);
        return reader.Metadata!.NumRows;
    }

    /// <summary>The different texts of a column.</summary>
    public static async Task<HashSet<string>> Distinct(string path, string column, CancellationToken cancel)
    {
        HashSet<string> values = new(StringComparer.Ordinal);
        await using ParquetReader reader = await ParquetReader.CreateAsync(path, cancellationToken: cancel);
        DataField field = reader.Schema.DataFields.Single(f => f.Name == column);
        for (int g = 0; g < reader.RowGroupCount; g++)
        {
            using ParquetRowGroupReader group = reader.OpenRowGroupReader(g);
            string[] texts = new string[group.RowCount];
            await group.ReadAsync(field, texts, cancellationToken: cancel);
            values.UnionWith(texts);
        }
        return values;
    }
}
