using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Audit;

/// <summary>
/// That an event vouches for a row: what the row was before and what it is from then on, as hashes.
/// In an event's member 'rows', a JSON array [table, key, before, after, marks] for each.
/// </summary>
/// <param name="Table">The table.</param>
/// <param name="Key">The values of its key, as a JSON array.</param>
/// <param name="Before">The beginning of the digest that the row had before; null for a new row; <see cref="Seen"/> where the event only
/// met it.</param>
/// <param name="After">The row's digest; null for a row that was removed.</param>
/// <param name="Marks">The list of columns (<see cref="AuditedTable.Layout"/>) and four digits of each column's hash, to name what
/// differs.</param>
public sealed record BoundRow(string Table, string Key, string? Before, string? After, string? Marks)
{
    /// <summary>Stands for the row before where an event vouches for what it found, and changes nothing.</summary>
    public const string Seen = "seen";

    /// <summary>So much of a digest says what a row was before.</summary>
    public const int BeforeLength = 32;

    /// <summary>Of a row as it is: its address in the trail's index.</summary>
    internal long Address => AddressOf(Table, Key);

    internal string Layout => Marks is { Length: >= RowValues.LayoutLength } ? Marks[..RowValues.LayoutLength] : "";

    internal static long AddressOf(string table, string key) => BinaryPrimitives.ReadInt64BigEndian(HashOf(table, key));

    internal static byte[] HashOf(string table, string key) => SHA256.HashData(Encoding.UTF8.GetBytes($"{table}\n{key}"));

    /// <summary>Rows as an event holds them.</summary>
    public static string Write(IEnumerable<BoundRow> rows)
    {
        using MemoryStream text = new();
        using (Utf8JsonWriter json = new(text, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            json.WriteStartArray();
            foreach (BoundRow row in rows)
            {
                json.WriteStartArray();
                json.WriteStringValue(row.Table);
                json.WriteRawValue(row.Key);
                json.WriteStringValue(row.Before);
                json.WriteStringValue(row.After);
                if (row.Marks is not null) json.WriteStringValue(row.Marks);
                json.WriteEndArray();
            }
            json.WriteEndArray();
        }
        return Encoding.UTF8.GetString(text.GetBuffer(), 0, (int)text.Length);
    }

    /// <exception cref="JsonException">The text is not what <see cref="Write"/> makes.</exception>
    public static IReadOnlyList<BoundRow> Read(string? rows)
    {
        if (rows is null) return [];
        using JsonDocument document = JsonDocument.Parse(rows);
        List<BoundRow> found = [];
        try
        {
            foreach (JsonElement row in document.RootElement.EnumerateArray())
            {
                found.Add(new BoundRow(row[0].GetString()!, row[1].GetRawText(), row[2].GetString(), row[3].GetString(),
                    row.GetArrayLength() > 4 ? row[4].GetString() : null));
            }
        }
        catch (Exception e) when (e is InvalidOperationException or IndexOutOfRangeException)
        {
            throw new JsonException("rows: expected [table, key, before, after, marks]");
        }
        return found;
    }
}

/// <summary>A row as the database has it: each column's value as JSON, in the order of the columns' names.</summary>
public sealed class RowValues(string table, string key, IReadOnlyList<string> columns, IReadOnlyList<string> values)
{
    internal const int LayoutLength = 8, MarkLength = 4;

    public string Table { get; } = table;

    /// <summary>The key's values, as a JSON array.</summary>
    public string Key { get; } = key;
    public IReadOnlyList<string> Columns { get; } = columns;
    public IReadOnlyList<string> Values { get; } = values;

    /// <summary>Lower-case hex sha256 of the row as a JSON object, members in the order of their names.</summary>
    public string Digest() => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(ToJson())));

    /// <summary>The row as it is hashed.</summary>
    public string ToJson()
    {
        StringBuilder json = new("{");
        for (int i = 0; i < Columns.Count; i++)
        {
            if (i > 0) json.Append(',');
            json.Append('"').Append(Columns[i]).Append("\":").Append(Values[i]);
        }
        return json.Append('}').ToString();
    }

    /// <summary>A column's value as JSON; null where the row has no such column.</summary>
    public string? ValueOf(string column)
    {
        for (int i = 0; i < Columns.Count; i++)
            if (Columns[i] == column) return Values[i];
        return null;
    }

    /// <summary>A text as a row's values have it.</summary>
    public static string TextOf(string text) => RowReader.TextOf(text);

    /// <summary>Some of its columns only; null where it lacks one of them.</summary>
    public RowValues? Only(IReadOnlyList<string> wanted)
    {
        Dictionary<string, string> byName = Columns.Zip(Values).ToDictionary(c => c.First, c => c.Second);
        string[] values = new string[wanted.Count];
        for (int i = 0; i < wanted.Count; i++)
        {
            if (!byName.TryGetValue(wanted[i], out string? value)) return null;
            values[i] = value;
        }
        return new RowValues(Table, Key, wanted, values);
    }

    /// <summary>The list of columns, and a few digits of each column's hash.</summary>
    public string Marks() => AuditedTable.LayoutOf(Columns) + string.Concat(Values.Select(MarkOf));

    /// <summary>The columns that are not as they were when a row was bound; empty where no mark tells them apart.</summary>
    public IReadOnlyList<string> Differing(string marks) =>
        marks.Length != LayoutLength + (MarkLength * Columns.Count) ? []
            : [.. Columns.Where((_, i) => MarkOf(Values[i]) != marks.Substring(LayoutLength + (MarkLength * i), MarkLength))];

    private static string MarkOf(string value) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(value)))[..MarkLength];
}

/// <summary>Where in the trail a row stands: an index, made with the events and never trusted without them.</summary>
public sealed class AuditRow
{
    /// <summary>The first eight bytes of the sha256 of table, line feed, key.</summary>
    public long Row { get; set; }
    public long Sequence { get; set; }
}

internal sealed class AuditRowConfiguration : IEntityTypeConfiguration<AuditRow>
{
    public void Configure(EntityTypeBuilder<AuditRow> row) => row.HasKey(r => new { r.Row, r.Sequence });
}
