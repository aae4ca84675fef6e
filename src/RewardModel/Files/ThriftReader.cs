namespace ArmoFlow;

/// <summary>The types of Thrift's compact protocol that the metadata of Parquet is written in.</summary>
internal enum ThriftType
{
    /// <summary>True or false: the protocol writes them as two types.</summary>
    Bool = 1,
    Byte = 3,
    Short = 4,
    Int = 5,
    Long = 6,
    Double = 7,
    Text = 8,
    List = 9,
    Set = 10,
    Map = 11,
    Struct = 12,
}

/// <summary>One value: a number, a list's items or a structure's fields by id; of texts, maps and fractions nothing is kept.</summary>
internal sealed record ThriftValue(ThriftType Type)
{
    public long Number { get; init; }
    public List<ThriftValue> Items { get; init; } = [];
    public Dictionary<int, ThriftValue> Fields { get; init; } = [];
}

/// <summary>Thrift's compact protocol, within given bytes: every count is held against the bytes that are left.</summary>
internal ref struct ThriftReader(ReadOnlySpan<byte> bytes)
{
    private const int Deepest = 32, LongestVarint = 10;
    private readonly ReadOnlySpan<byte> _bytes = bytes;
    private int _at, _depth;

    public readonly int Position => _at;

    /// <summary>Reads a structure's fields; one that comes twice is refused: readers differ in which of the two they take.</summary>
    public Dictionary<int, ThriftValue> Struct()
    {
        if (++_depth > Deepest) throw Wrong("a footer that is nested too deeply");
        Dictionary<int, ThriftValue> fields = [];
        int id = 0;
        while (Byte() is var head && head != 0)
        {
            id = head >> 4 != 0 ? id + (head >> 4) : checked((short)ZigZag());
            if (!fields.TryAdd(id, Value(head & 15))) throw Wrong($"a footer in which field {id} stands twice");
        }
        _depth--;
        return fields;
    }

    private ThriftValue Value(int type)
    {
        switch (type)
        {
            case 1 or 2: return new ThriftValue(ThriftType.Bool);
            case 3: return new ThriftValue(ThriftType.Byte) { Number = (sbyte)Byte() };
            case 4 or 5 or 6: return new ThriftValue((ThriftType)type) { Number = ZigZag() };
            case 7: return Skip(ThriftType.Double, 8);
            case 8: return Skip(ThriftType.Text, Varint());
            case 9 or 10: return new ThriftValue((ThriftType)type) { Items = Items() };
            case 11: return Map();
            case 12: return new ThriftValue(ThriftType.Struct) { Fields = Struct() };
            default: throw Wrong($"a value of type {type} in its footer");
        }
    }

    private List<ThriftValue> Items()
    {
        int head = Byte();
        long count = head >> 4 == 15 ? Varint() : head >> 4;
        RequireRoom("list", count);
        List<ThriftValue> items = [];
        for (long i = 0; i < count; i++)
            items.Add((head & 15) is 1 or 2 ? new ThriftValue(ThriftType.Bool) { Number = Byte() } : Value(head & 15));
        _depth--;
        return items;
    }

    private ThriftValue Map()
    {
        long count = Varint();
        if (count == 0) return new ThriftValue(ThriftType.Map);
        int types = Byte();
        RequireRoom("map", count);
        for (long i = 0; i < count; i++)
        {
            _ = Value(types >> 4);
            _ = Value(types & 15);
        }
        _depth--;
        return new ThriftValue(ThriftType.Map);
    }

    private void RequireRoom(string kind, long count)
    {
        if (++_depth > Deepest || count < 0 || count > _bytes.Length - _at)
            throw Wrong($"a {kind} of {count} items in {_bytes.Length - _at} bytes");
    }

    private ThriftValue Skip(ThriftType type, long count)
    {
        if (count < 0 || count > _bytes.Length - _at) throw Wrong($"a text of {count} bytes where {_bytes.Length - _at} are left");
        _at += (int)count;
        return new ThriftValue(type);
    }

    private int Byte() => _at < _bytes.Length ? _bytes[_at++] : throw Wrong("a footer that breaks off");

    private long Varint()
    {
        ulong value = 0;
        for (int i = 0; i < LongestVarint; i++)
        {
            int next = Byte();
            value |= (ulong)(next & 127) << (7 * i);
            if (next < 128) return (long)value;
        }
        throw Wrong("a number of more than 64 bits in its footer");
    }

    private long ZigZag()
    {
        ulong value = (ulong)Varint();
        return (long)(value >> 1) ^ -(long)(value & 1);
    }

    private static InvalidDataException Wrong(string what) => new(what);
}
