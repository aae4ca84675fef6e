using Parquet;
using Parquet.Schema;

namespace ArmoFlow.Persistence.Artifacts;

/// <summary>Writes tables again without some of their rows; columns are texts, or numbers that may be absent.</summary>
internal static class ParquetRows
{
    /// <summary>Copies a table, a row group in memory at a time.</summary>
    /// <param name="source">The table.</param>
    /// <param name="target">A new file.</param>
    /// <param name="leavesOut">From the texts of a row, by column, whether it is left out.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>How many rows were left out.</returns>
    public static async Task<long> CopyWithout(string source, string target, Func<IReadOnlyDictionary<string, string[]>, int,
        bool> leavesOut, CancellationToken cancel)
    {
        await using ParquetReader reader = await ParquetReader.CreateAsync(source, cancellationToken: cancel);
        // The library knows texts under another type when it reads than when it writes.
        ParquetSchema schema = new([.. reader.Schema.DataFields.Select(Written)]);
        await using FileStream stream = new(target, FileMode.Create, FileAccess.ReadWrite);
        await using ParquetWriter writer = await ParquetWriter.CreateAsync(schema, stream, cancellationToken: cancel);
        long leftOut = 0;
        for (int g = 0; g < reader.RowGroupCount; g++)
        {
            using ParquetRowGroupReader from = reader.OpenRowGroupReader(g);
            int rows = (int)from.RowCount;
            Dictionary<string, string[]> texts = [];
            Dictionary<string, double?[]> numbers = [];
            foreach (DataField field in reader.Schema.DataFields)
            {
                if (!IsNumber(field)) await from.ReadAsync(field, texts[field.Name] = new string[rows], cancellationToken: cancel);
                else await from.ReadAsync<double>(field, (numbers[field.Name] = new double?[rows]).AsMemory(), cancellationToken: cancel);
            }
            int[] kept = [.. Enumerable.Range(0, rows).Where(row => !leavesOut(texts, row))];
            leftOut += rows - kept.Length;
            using ParquetRowGroupWriter to = writer.CreateRowGroup();
            foreach (DataField field in schema.DataFields)
            {
                if (texts.TryGetValue(field.Name, out string[]? column)) await to.WriteAsync(field, [.. kept.Select(row => column[row])]);
                else
                {
                    await to.WriteAsync<double>(field, kept.Select(row => numbers[field.Name][row]).ToArray().AsMemory(),
                        cancellationToken: cancel);
                }
            }
            to.CompleteValidate();
        }
        return leftOut;
    }

    private static Field Written(DataField field) =>
        IsNumber(field) ? new DataField<double?>(field.Name) : new DataField<string>(field.Name, false);

    private static bool IsNumber(DataField field) => field.ClrType == typeof(double);

    /// <summary>The texts of some columns, row by row.</summary>
    public static async IAsyncEnumerable<string[]> Read(string path, string[] columns,
        [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancel)
    {
        await using ParquetReader reader = await ParquetReader.CreateAsync(path, cancellationToken: cancel);
        DataField[] fields = [.. columns.Select(c => reader.Schema.DataFields.Single(f => f.Name == c))];
        for (int g = 0; g < reader.RowGroupCount; g++)
        {
            using ParquetRowGroupReader group = reader.OpenRowGroupReader(g);
            string[][] texts = [.. fields.Select(_ => new string[group.RowCount])];
            for (int c = 0; c < fields.Length; c++) await group.ReadAsync(fields[c], texts[c], cancellationToken: cancel);
            for (int row = 0; row < group.RowCount; row++) yield return [.. texts.Select(t => t[row])];
        }
    }
}
