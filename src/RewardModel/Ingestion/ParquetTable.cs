using System.Collections;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Parquet;
using Parquet.Schema;
using Parquet.Serialization;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>Tables of named columns in Parquet, written a row group at a time so that memory does not grow with the table.</summary>
public sealed class ParquetTable : IAsyncDisposable
{
    private const int RowsPerGroup = 5000;
    private readonly ParquetSchema _schema;
    private readonly Type[] _types;
    private readonly Stream _stream;
    private readonly List<object?[]> _rows = [];
    private ParquetWriter? _writer;

    /// <summary>Begins a table.</summary>
    /// <param name="stream">Where the table goes.</param>
    /// <param name="columns">Name and type: string, double? or long.</param>
    public ParquetTable(Stream stream, IEnumerable<(string Name, Type Type)> columns)
    {
        _stream = stream;
        (string Name, Type Type)[] all = [.. columns];
        _types = [.. all.Select(c => c.Type)];
        _schema = new ParquetSchema([.. all.Select(c => FieldOf(c.Name, c.Type))]);
    }

    private static Field FieldOf(string name, Type type)
    {
        if (type == typeof(string)) return new DataField<string>(name, false);
        return type == typeof(long) ? new DataField<long>(name) : new DataField<double?>(name);
    }

    /// <summary>Adds a row.</summary>
    /// <param name="values">One value for each column, of its type.</param>
    public async Task Add(params object?[] values)
    {
        _rows.Add(values);
        if (_rows.Count == RowsPerGroup) await Flush();
    }

    private async Task Flush()
    {
        _writer ??= await ParquetWriter.CreateAsync(_schema, _stream);
        using ParquetRowGroupWriter group = _writer.CreateRowGroup();
        for (int c = 0; c < _schema.DataFields.Length; c++)
        {
            DataField field = _schema.DataFields[c];
            int column = c;
            if (_types[c] == typeof(string)) await group.WriteAsync(field, [.. _rows.Select(r => (string)r[column]!)]);
            else if (_types[c] == typeof(long))
                await group.WriteAsync<long>(field, _rows.Select(r => (long)r[column]!).ToArray().AsMemory());
            else await group.WriteAsync<double>(field, _rows.Select(r => (double?)r[column]).ToArray().AsMemory());
        }
        group.CompleteValidate();
        _rows.Clear();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (_rows.Count > 0 || _writer is null) await Flush();
        await _writer!.DisposeAsync();
    }

    /// <summary>How many rows a table's footer tells of.</summary>
    public static async Task<long> RowsOf(string path)
    {
        await using ParquetReader reader = await ParquetReader.CreateAsync(path);
        return reader.Metadata!.NumRows;
    }

    /// <summary>Streams a table's rows, a row group in memory at a time.</summary>
    public static async IAsyncEnumerable<Dictionary<string, object?>> Read(string path)
    {
        int groups;
        await using (ParquetReader reader = await ParquetReader.CreateAsync(path)) groups = reader.RowGroupCount;
        for (int g = 0; g < groups; g++)
        {
            await using FileStream stream = File.OpenRead(path);
            foreach (Dictionary<string, object?> row in Rows(await ParquetSerializer.DeserializeUntypedAsync(stream, rowGroupIndex: g)))
                yield return row;
        }
    }

    internal static IList<Dictionary<string, object?>> Rows(object result)
    {
        // The untyped result is a list of dictionaries, whose nullability the library does not declare.
        object data = result is IList ? result : result.GetType().GetProperty("Data")!.GetValue(result)!;
        return [.. ((IEnumerable)data).Cast<IDictionary<string, object>>().Select(d => d.ToDictionary(x => x.Key, x => (object?)x.Value))];
    }

    /// <param name="row">What the library made of the row; nulls may be missing.</param>
    /// <param name="columns">The schema's columns, whose order the fields have: a label is found by its place.</param>
    internal static JsonElement ToJson(Dictionary<string, object?> row, IReadOnlyList<string> columns) =>
        JsonSerializer.SerializeToElement(new JsonObject(columns.Select(c => KeyValuePair.Create(c, ToNode(row.GetValueOrDefault(c))))));

    private static JsonNode? ToNode(object? value) => value switch
    {
        null => null,
        string s => JsonValue.Create(s),
        ReadOnlyMemory<char> s => JsonValue.Create(s.ToString()), // what the library makes of strings within lists
        bool b => JsonValue.Create(b),
        byte[] bytes => OfBytes(bytes),
        ReadOnlyMemory<byte> bytes => OfBytes(bytes.Span),
        double d when !double.IsFinite(d) => OfNotFinite(d),
        float f when !float.IsFinite(f) => OfNotFinite(f),
        Half h => Half.IsFinite(h) ? JsonValue.Create((double)h) : OfNotFinite((double)h),
        double or float or decimal => JsonValue.Create(Convert.ToDouble(value, CultureInfo.InvariantCulture)),
        sbyte or byte or short or ushort or int or uint or long => JsonValue.Create(Convert.ToInt64(value, CultureInfo.InvariantCulture)),
        ulong u => JsonValue.Create(u),
        IDictionary<string, object> fields => new JsonObject(fields.Select(f => KeyValuePair.Create(f.Key, ToNode(f.Value)))),
        IEnumerable items => new JsonArray([.. items.Cast<object?>().Select(ToNode)]),
        _ => JsonValue.Create(Convert.ToString(value, CultureInfo.InvariantCulture)),
    };

    private static JsonNode OfNotFinite(double value) =>
        JsonRow.OfNotFinite(value switch
        {
            double.NaN => "NaN",
            > 0 => "Infinity",
            _ => "-Infinity",
        });

    /// <summary>Old writers leave out that bytes are text; pictures, which nobody reads here, are told by their length alone.</summary>
    private static JsonNode OfBytes(ReadOnlySpan<byte> bytes)
    {
        if (System.Text.Unicode.Utf8.IsValid(bytes)) return JsonValue.Create(System.Text.Encoding.UTF8.GetString(bytes));
        return new JsonObject { ["bytes"] = bytes.Length };
    }
}
