using System.Buffers.Binary;
using System.Text;

namespace ArmoFlow;

/// <summary>
/// Checks what a Parquet file says of itself (footer and page headers, Thrift's compact protocol) against its size, before a library
/// believes it: forged counts make readers loop or take all memory. Facts: parquet.thrift of the format's specification.
/// </summary>
internal static class ParquetCheck
{
    /// <summary>Cells (rows times columns) of a row group, which is in memory at a time.</summary>
    public const long MostCells = 50_000_000;

    /// <summary>Bytes of a row group once it is decompressed.</summary>
    public const long LargestRowGroup = 4L << 30;

    private const int SmallestFile = 12, LargestFooter = 256 << 20, DeepestSchema = 64, LargestPageHeader = 1 << 20;
    private static readonly byte[] Magic = Encoding.ASCII.GetBytes("PAR1");
    private static readonly byte[] EncryptedMagic = Encoding.ASCII.GetBytes("PARE");

    /// <summary>Refuses a file that the reader of Parquet would fail on, or take too much memory for.</summary>
    /// <exception cref="InvalidDataException">The file's own description cannot be true, or asks for more than is allowed; says
    /// what.</exception>
    public static void Require(string path)
    {
        using FileStream file = File.OpenRead(path);
        if (file.Length < SmallestFile) throw Wrong($"{file.Length} bytes");
        byte[] end = ReadAt(file, file.Length - 8, 8);
        if (end.AsSpan(4).SequenceEqual(EncryptedMagic)) throw new NotSupportedException("an encrypted footer");
        if (!end.AsSpan(4).SequenceEqual(Magic) || !ReadAt(file, 0, 4).AsSpan().SequenceEqual(Magic))
            throw Wrong("no 'PAR1' at its start and end");
        long length = BinaryPrimitives.ReadUInt32LittleEndian(end);
        if (length > LargestFooter || length > file.Length - SmallestFile)
            throw Wrong($"a footer of {length:N0} bytes in a file of {file.Length:N0}");
        long dataEnd = file.Length - 8 - length;
        Dictionary<int, object> footer = new ThriftReader(ReadAt(file, dataEnd, (int)length)).Struct();
        int leaves = RequireSchema(footer);
        RequireRowGroups(file, footer, leaves, dataEnd);
    }

    /// <summary>The schema is a tree in pre-order; returns its leaves, which are the columns.</summary>
    private static int RequireSchema(Dictionary<int, object> footer)
    {
        const int Schema = 2, Children = 5;
        List<object> elements = List(footer, Schema);
        if (elements.Count == 0) throw Wrong("no schema");
        int at = 0, leaves = 0;
        Walk(0);
        return at == elements.Count ? leaves : throw Wrong("a schema whose counts of children do not add up");

        void Walk(int depth)
        {
            if (at >= elements.Count || depth > DeepestSchema) throw Wrong("a schema whose counts of children do not add up");
            Dictionary<int, object> element = Struct(elements[at++]);
            long children = Number(element, Children, 0);
            if (children < 0 || children > elements.Count - at)
                throw Wrong($"a column with {children} children in a schema of {elements.Count}");
            if (children == 0) leaves++;
            for (long child = 0; child < children; child++) Walk(depth + 1);
        }
    }

    private static void RequireRowGroups(FileStream file, Dictionary<int, object> footer, int leaves, long dataEnd)
    {
        const int Rows = 3, Groups = 4, GroupColumns = 1, GroupRows = 3;
        long total = 0;
        foreach (object item in List(footer, Groups))
        {
            Dictionary<int, object> group = Struct(item);
            List<object> columns = List(group, GroupColumns);
            long rows = Number(group, GroupRows, -1);
            if (rows < 0 || columns.Count != leaves)
                throw Wrong($"a row group of {rows} rows and {columns.Count} columns in a table of {leaves} columns");
            if (rows * Math.Max(1, leaves) > MostCells || rows > MostCells)
            {
                throw Wrong(
                    $"a row group of {rows:N0} rows and {leaves} columns, more than {MostCells:N0} cells (write smaller row groups)");
            }
            total += rows;
            long bytes = 0;
            foreach (object column in columns)
            {
                bytes += RequireColumn(file, Struct(column), dataEnd);
                if (bytes > LargestRowGroup) break;
            }
            if (bytes > LargestRowGroup)
                throw Wrong($"a row group of {bytes:N0} bytes, more than {LargestRowGroup:N0} (write smaller row groups)");
        }
        if (Number(footer, Rows, -1) != total) throw Wrong($"{Number(footer, Rows, -1)} rows where its row groups have {total}");
    }

    /// <summary>
    /// One column of a row group: its pages follow one another within the file; returns their size once decompressed. The sizes that the
    /// footer gives for the whole column are left alone: writers have counted them in different ways.
    /// </summary>
    private static long RequireColumn(FileStream file, Dictionary<int, object> chunk, long dataEnd)
    {
        const int Metadata = 3, Values = 5, Data = 9, Dictionary = 11;
        if (!chunk.TryGetValue(Metadata, out object? described)) throw Wrong("a column without a description");
        Dictionary<int, object> column = Struct(described);
        long values = Number(column, Values, -1), data = Number(column, Data, -1), dictionary = Number(column, Dictionary, 0);
        long start = dictionary > 0 && dictionary < data ? dictionary : data;
        if (values < 0 || values > MostCells || start < Magic.Length || start > dataEnd)
            throw Wrong($"a column of {values} values at byte {start}, in {dataEnd} bytes of data");
        return RequirePages(file, start, dataEnd, values);
    }

    private static long RequirePages(FileStream file, long at, long end, long values)
    {
        const int Uncompressed = 2, Compressed = 3, DataPage = 5, DictionaryPage = 7, DataPageV2 = 8, PageValues = 1;
        long found = 0, size = 0;
        while (found < values)
        {
            if (at >= end) throw Wrong($"pages with {found} values where a column has {values}");
            ThriftReader reader = new(ReadAt(file, at, (int)Math.Min(LargestPageHeader, end - at)));
            Dictionary<int, object> page = reader.Struct();
            long bytes = Number(page, Compressed, -1), inflated = Number(page, Uncompressed, -1);
            bool isDictionary = page.TryGetValue(DictionaryPage, out object? header);
            if (!isDictionary && !page.TryGetValue(DataPage, out header) && !page.TryGetValue(DataPageV2, out header)) header = null;
            long here = header is null ? 0 : Number(Struct(header), PageValues, -1);
            size += inflated;
            if (bytes < 0 || inflated < 0 || here < 0 || here > MostCells || bytes > end - at - reader.Position)
                throw Wrong($"a page of {here} values and {bytes} bytes ({inflated} decompressed) where {end - at} bytes are left");
            if (size > LargestRowGroup) throw Wrong($"a column of more than {LargestRowGroup:N0} bytes once it is decompressed");
            if (header is not null && !isDictionary) found += here;
            at += reader.Position + bytes;
        }
        return size;
    }

    private static byte[] ReadAt(FileStream file, long position, int count)
    {
        byte[] bytes = new byte[count];
        file.Position = position;
        file.ReadExactly(bytes);
        return bytes;
    }

    private static long Number(Dictionary<int, object> fields, int id, long otherwise) =>
        fields.TryGetValue(id, out object? value) && value is long number ? number : otherwise;

    private static List<object> List(Dictionary<int, object> fields, int id) =>
        fields.TryGetValue(id, out object? value) && value is List<object> list ? list : [];

    private static Dictionary<int, object> Struct(object value) =>
        value as Dictionary<int, object> ?? throw Wrong("a footer of another form");

    private static InvalidDataException Wrong(string what) => new(what);

    /// <summary>Thrift's compact protocol, within given bytes: every count is held against the bytes that are left.</summary>
    private ref struct ThriftReader(ReadOnlySpan<byte> bytes)
    {
        private const int Deepest = 32, LongestVarint = 10;
        private readonly ReadOnlySpan<byte> _bytes = bytes;
        private int _at, _depth;

        public readonly int Position => _at;

        /// <summary>Fields by id: numbers as long, lists, structures; text and other values as their length alone.</summary>
        public Dictionary<int, object> Struct()
        {
            if (++_depth > Deepest) throw Wrong("a footer that is nested too deeply");
            Dictionary<int, object> fields = [];
            int id = 0;
            while (Byte() is var head && head != 0)
            {
                id = head >> 4 != 0 ? id + (head >> 4) : checked((int)ZigZag());
                fields[id] = Value(head & 15);
            }
            _depth--;
            return fields;
        }

        private object Value(int type)
        {
            switch (type)
            {
                case 1: return 1L;
                case 2: return 0L;
                case 3: return (long)(sbyte)Byte();
                case 4 or 5 or 6: return ZigZag();
                case 7: return Skip(8);
                case 8: return Skip(Varint());
                case 9 or 10: return Items();
                case 11: return Map();
                case 12: return Struct();
                default: throw Wrong($"a value of type {type} in its footer");
            }
        }

        private List<object> Items()
        {
            int head = Byte();
            long count = head >> 4 == 15 ? Varint() : head >> 4;
            if (++_depth > Deepest || count < 0 || count > _bytes.Length - _at)
                throw Wrong($"a list of {count} items in {_bytes.Length - _at} bytes");
            List<object> items = [];
            for (long i = 0; i < count; i++) items.Add((head & 15) is 1 or 2 ? (long)Byte() : Value(head & 15));
            _depth--;
            return items;
        }

        private long Map()
        {
            long count = Varint();
            if (count == 0) return 0;
            int types = Byte();
            if (++_depth > Deepest || count < 0 || count > _bytes.Length - _at)
                throw Wrong($"a map of {count} entries in {_bytes.Length - _at} bytes");
            for (long i = 0; i < count; i++)
            {
                _ = Value(types >> 4);
                _ = Value(types & 15);
            }
            _depth--;
            return count;
        }

        private string Skip(long count)
        {
            if (count < 0 || count > _bytes.Length - _at) throw Wrong($"a text of {count} bytes where {_bytes.Length - _at} are left");
            _at += (int)count;
            return "";
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
    }
}
