using System.Data.Common;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Audit;

/// <summary>A row that is to be read, by its key.</summary>
/// <param name="Table">The table.</param>
/// <param name="Key">Values of some columns of the table, as the entity has them: of the whole key, or of what several rows share.</param>
internal sealed record RowAddress(AuditedTable Table, IReadOnlyList<object?> Key);

/// <summary>
/// Reads audited rows as the database has them, past all conversions of the model: what is hashed is what is stored, to the last
/// digit and the last character.
/// </summary>
internal static class RowReader
{
    private const int RowsAtOnce = 200; // SQLite takes no condition much longer
    private static readonly JsonSerializerOptions Text = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Reads rows by their keys: one round trip for 200 of them.</summary>
    /// <param name="db">The database, in the transaction of the change.</param>
    /// <param name="addresses">Which rows; a key's first part alone means all rows that share it.</param>
    /// <param name="locking">Postgres' lock on the rows, such as 'for update'; null for none.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<List<RowValues>> Read(ArmoFlowDbContext db, IReadOnlyCollection<RowAddress> addresses, string? locking,
        CancellationToken cancel)
    {
        List<RowValues> found = [];
        foreach (RowAddress[] chunk in addresses.Chunk(RowsAtOnce)) found.AddRange(await ReadChunk(db, chunk, locking, cancel));
        return found;
    }

    private static async Task<List<RowValues>> ReadChunk(ArmoFlowDbContext db, RowAddress[] addresses, string? locking,
        CancellationToken cancel)
    {
        List<RowValues> found = [];
        DbConnection connection = db.Database.GetDbConnection();
        bool isClosed = connection.State != System.Data.ConnectionState.Open;
        if (isClosed) await db.Database.OpenConnectionAsync(cancel);
        try
        {
            await using DbCommand command = connection.CreateCommand();
            command.Transaction = db.Database.CurrentTransaction?.GetDbTransaction();
            AuditedTable[] tables = Write(command, addresses, db.Database.IsNpgsql() ? locking : null);
            await using DbDataReader reader = await command.ExecuteReaderAsync(cancel);
            foreach (AuditedTable table in tables)
            {
                while (await reader.ReadAsync(cancel)) found.Add(Current(reader, table));
                await reader.NextResultAsync(cancel);
            }
        }
        finally
        {
            if (isClosed) await db.Database.CloseConnectionAsync();
        }
        return found;
    }

    /// <summary>All rows of a table.</summary>
    public static async IAsyncEnumerable<RowValues> All(ArmoFlowDbContext db, AuditedTable table,
        [EnumeratorCancellation] CancellationToken cancel)
    {
        await using DbCommand command = db.Database.GetDbConnection().CreateCommand();
        command.Transaction = db.Database.CurrentTransaction?.GetDbTransaction();
        command.CommandText = $"{Select(table)} order by {string.Join(", ", table.Key.Select(c => Quoted(c.Name)))}";
        await using DbDataReader reader = await command.ExecuteReaderAsync(cancel);
        while (await reader.ReadAsync(cancel)) yield return Current(reader, table);
    }

    private static AuditedTable[] Write(DbCommand command, RowAddress[] addresses, string? locking)
    {
        StringBuilder text = new();
        List<AuditedTable> tables = [];
        int number = 0;
        foreach (IGrouping<(AuditedTable Table, int Length), RowAddress> group in addresses.GroupBy(a => (a.Table, a.Key.Count)))
        {
            tables.Add(group.Key.Table);
            text.Append(Select(group.Key.Table)).Append(" where ");
            string[] rows = [.. group.Select(address =>
                $"({string.Join(" and ", address.Key.Select((value, i) => Condition(address.Table.Key[i], value)))})")];
            text.Append(string.Join(" or ", rows));
            if (locking is not null) text.Append(' ').Append(locking);
            text.Append("; ");
        }
        command.CommandText = text.ToString();
        return [.. tables];

        string Condition(AuditedColumn column, object? value)
        {
            string name = $"@k{number++}";
            RelationalTypeMapping mapping = (RelationalTypeMapping)column.Property.GetTypeMapping();
            command.Parameters.Add(mapping.CreateParameter(command, name, value, nullable: false));
            return $"{Quoted(column.Name)} = {name}";
        }
    }

    private static string Select(AuditedTable table) =>
        $"select {string.Join(", ", table.Columns.Select(c => Quoted(c.Name)))}, "
            + $"{string.Join(", ", table.Key.Select(c => Quoted(c.Name)))} from {Quoted(table.Name)}";

    private static RowValues Current(DbDataReader reader, AuditedTable table)
    {
        string[] values = new string[table.Columns.Count];
        for (int i = 0; i < values.Length; i++) values[i] = Value(reader, i);
        string[] key = new string[table.Key.Count];
        for (int i = 0; i < key.Length; i++) key[i] = Value(reader, values.Length + i);
        return new RowValues(table.Name, $"[{string.Join(',', key)}]", table.ColumnNames, values);
    }

    /// <summary>A stored value as JSON: texts, numbers, true and false as they are; times as text in UTC with seven decimals.</summary>
    private static string Value(DbDataReader reader, int column)
    {
        object value;
        try { value = reader.GetValue(column); }
        catch (Exception e) when (e is InvalidCastException or FormatException or OverflowException or ArgumentException)
        {
            return TextOf($"unreadable: {e.Message}"); // whatever its owner has put there is not what was bound
        }
        return value switch
        {
            DBNull => "null",
            string text => TextOf(text),
            bool flag => flag ? "true" : "false",
            double number when double.IsFinite(number) => number.ToString("R", CultureInfo.InvariantCulture),
            DateTime time => $"\"{time.ToUniversalTime().ToString("O", CultureInfo.InvariantCulture)}\"",
            Guid id => $"\"{id}\"",
            byte[] bytes => $"\"{Convert.ToHexStringLower(bytes)}\"",
            short or int or long or decimal => ((IFormattable)value).ToString(null, CultureInfo.InvariantCulture),
            _ => JsonSerializer.Serialize(Convert.ToString(value, CultureInfo.InvariantCulture), Text),
        };
    }

    /// <summary>A text as JSON.</summary>
    public static string TextOf(string text) => JsonSerializer.Serialize(text, Text);

    private static string Quoted(string name) => $"\"{name}\"";
}
