using static ArmoFlow.ThriftType;

namespace ArmoFlow;

/// <summary>
/// The structures of a Parquet file's metadata: each field's type, by id, and which fields must be there. Facts: parquet.thrift of the
/// format's specification. A reader takes the types for granted: a file that says otherwise is read as something it is not.
/// </summary>
internal sealed class ParquetShape
{
    public static readonly ParquetShape Footer = new("footer", [Int, List, Long, List, List, Text, List, Struct, Text], 1, 2, 3, 4);
    public static readonly ParquetShape SchemaElement =
        new("column's definition", [Int, Int, Int, Text, Int, Int, Int, Int, Int, Struct], 4);
    public static readonly ParquetShape RowGroup = new("row group", [List, Long, Long, List, Long, Long, Short], 1, 2, 3);
    public static readonly ParquetShape Chunk =
        new("column's place", [Text, Long, Struct, Long, Int, Long, Int, Struct, Text], 2, 3);
    public static readonly ParquetShape Column = new("column's description",
        [Int, List, List, Int, Long, Long, Long, List, Long, Long, Long, Struct, List, Long, Int, Struct, Struct],
        1, 2, 3, 4, 5, 6, 7, 9);
    public static readonly ParquetShape Page = new("page's header", [Int, Int, Int, Int, Struct, Struct, Struct, Struct], 1, 2, 3);
    public static readonly ParquetShape DataPage = new("page's header", [Int, Int, Int, Int, Struct], 1, 2, 3, 4);
    public static readonly ParquetShape DictionaryPage = new("dictionary's header", [Int, Int, Bool], 1, 2);
    public static readonly ParquetShape DataPageV2 = new("page's header", [Int, Int, Int, Int, Int, Int, Bool, Struct], 1, 2, 3, 4, 5, 6);

    private readonly string _name;
    private readonly ThriftType[] _types;
    private readonly int[] _required;

    private ParquetShape(string name, ThriftType[] types, params int[] required)
    {
        _name = name;
        _types = types;
        _required = required;
    }

    /// <summary>The fields of a value that is such a structure.</summary>
    /// <exception cref="InvalidDataException">It is not.</exception>
    public Dictionary<int, ThriftValue> Require(ThriftValue value)
    {
        if (value.Type != Struct) throw ParquetCheck.Wrong($"a {_name} that is none");
        Require(value.Fields);
        return value.Fields;
    }

    /// <summary>
    /// Holds fields against the structure. Numbers and texts that a later version of the format adds are let pass; what nests is not: the
    /// library loses its place behind a structure that it does not know.
    /// </summary>
    /// <exception cref="InvalidDataException">A field is missing, of another type, or unknown and nested.</exception>
    public void Require(Dictionary<int, ThriftValue> fields)
    {
        foreach (int id in _required)
        {
            if (!fields.ContainsKey(id)) throw ParquetCheck.Wrong($"a {_name} without field {id}");
        }
        foreach ((int id, ThriftValue field) in fields)
        {
            bool isKnown = id >= 1 && id <= _types.Length;
            if (isKnown && field.Type != _types[id - 1])
                throw ParquetCheck.Wrong($"a {_name} whose field {id} is of another type ({field.Type}, not {_types[id - 1]})");
            if (!isKnown && field.Type is (Struct or List or Set or Map))
                throw ParquetCheck.Wrong($"a {_name} with a field {id}, which the format does not have");
        }
    }
}
