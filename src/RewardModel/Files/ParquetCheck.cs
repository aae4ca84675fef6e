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
        Dictionary<int, ThriftValue> footer = new ThriftReader(ReadAt(file, dataEnd, (int)length)).Struct();
        ParquetShape.Footer.Require(footer);
        int leaves = RequireSchema(footer);
        RequireRowGroups(file, footer, leaves, dataEnd);
    }

    /// <summary>The schema is a tree in pre-order; returns its leaves, which are the columns.</summary>
    private static int RequireSchema(Dictionary<int, ThriftValue> footer)
    {
        const int Schema = 2, Children = 5;
        List<ThriftValue> elements = List(footer, Schema);
        if (elements.Count == 0) throw Wrong("no schema");
        int at = 0, leaves = 0;
        Walk(0);
        return at == elements.Count ? leaves : throw Wrong("a schema whose counts of children do not add up");

        void Walk(int depth)
        {
            if (at >= elements.Count || depth > DeepestSchema) throw Wrong("a schema whose counts of children do not add up");
            Dictionary<int, ThriftValue> element = ParquetShape.SchemaElement.Require(elements[at++]);
            long children = Number(element, Children, 0);
            if (children < 0 || children > elements.Count - at)
                throw Wrong($"a column with {children} children in a schema of {elements.Count}");
            if (children == 0) leaves++;
            for (long child = 0; child < children; child++) Walk(depth + 1);
        }
    }

    private static void RequireRowGroups(FileStream file, Dictionary<int, ThriftValue> footer, int leaves, long dataEnd)
    {
        const int Rows = 3, Groups = 4, GroupColumns = 1, GroupRows = 3;
        long total = 0;
        foreach (ThriftValue item in List(footer, Groups))
        {
            Dictionary<int, ThriftValue> group = ParquetShape.RowGroup.Require(item);
            List<ThriftValue> columns = List(group, GroupColumns);
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
            foreach (ThriftValue column in columns)
            {
                bytes += RequireColumn(file, ParquetShape.Chunk.Require(column), dataEnd);
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
    private static long RequireColumn(FileStream file, Dictionary<int, ThriftValue> chunk, long dataEnd)
    {
        const int Metadata = 3, Path = 3, Values = 5, Data = 9, Dictionary = 11;
        Dictionary<int, ThriftValue> column = ParquetShape.Column.Require(chunk[Metadata]);
        if (List(column, Path).Count == 0 || List(column, Path).Exists(part => part.Type != ThriftType.Text))
            throw Wrong("a column without a path");
        long values = Number(column, Values, -1), data = Number(column, Data, -1), dictionary = Number(column, Dictionary, 0);
        long start = dictionary > 0 && dictionary < data ? dictionary : data;
        if (values < 0 || values > MostCells || start < Magic.Length || start > dataEnd)
            throw Wrong($"a column of {values} values at byte {start}, in {dataEnd} bytes of data");
        return RequirePages(file, start, dataEnd, values);
    }

    private static long RequirePages(FileStream file, long at, long end, long values)
    {
        const int Uncompressed = 2, Compressed = 3, DictionaryPage = 7;
        long found = 0, size = 0;
        while (found < values)
        {
            if (at >= end) throw Wrong($"pages with {found} values where a column has {values}");
            ThriftReader reader = new(ReadAt(file, at, (int)Math.Min(LargestPageHeader, end - at)));
            Dictionary<int, ThriftValue> page = reader.Struct();
            ParquetShape.Page.Require(page);
            long bytes = Number(page, Compressed, -1), inflated = Number(page, Uncompressed, -1);
            bool isDictionary = page.ContainsKey(DictionaryPage);
            long here = ValuesOf(page);
            size += inflated;
            if (bytes < 0 || inflated < 0 || here < 0 || here > MostCells || bytes > end - at - reader.Position)
                throw Wrong($"a page of {here} values and {bytes} bytes ({inflated} decompressed) where {end - at} bytes are left");
            if (size > LargestRowGroup) throw Wrong($"a column of more than {LargestRowGroup:N0} bytes once it is decompressed");
            if (!isDictionary) found += here;
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

    /// <summary>How many values a page says that it has; none in a page of another kind, such as an index.</summary>
    private static long ValuesOf(Dictionary<int, ThriftValue> page)
    {
        const int Data = 5, Dictionary = 7, DataV2 = 8, Values = 1;
        if (page.TryGetValue(Dictionary, out ThriftValue? header)) return Number(ParquetShape.DictionaryPage.Require(header), Values, -1);
        if (page.TryGetValue(Data, out header)) return Number(ParquetShape.DataPage.Require(header), Values, -1);
        return page.TryGetValue(DataV2, out header) ? Number(ParquetShape.DataPageV2.Require(header), Values, -1) : 0;
    }

    private static long Number(Dictionary<int, ThriftValue> fields, int id, long otherwise) =>
        fields.TryGetValue(id, out ThriftValue? field) ? field.Number : otherwise;

    private static List<ThriftValue> List(Dictionary<int, ThriftValue> fields, int id) =>
        fields.TryGetValue(id, out ThriftValue? field) ? field.Items : [];

    internal static InvalidDataException Wrong(string what) => new(what);
}
