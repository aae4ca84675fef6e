using System.IO.Compression;
using System.Text;
using System.Text.Json;
using ArmoFlow.RewardModel.Ingestion;
using Parquet.Schema;
using Parquet.Serialization;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Files as other programs write them: layouts, encodings, compression, and values that JSON does not have.</summary>
public class RowFilesTests
{
    private const string A = """{"n":1,"t":"a"}""", B = """{"n":2,"t":"b"}""";

    public static TheoryData<string, string, string> Layouts => new()
    {
        { "t.jsonl", A + "\n" + B, "line 1,line 2" },
        { "t.json", A + "\n" + B, "line 1,line 2" },
        { "t.json", $"[{A},{B}]", "item 1,item 2" },
        { "t.json", $"\n [\n {A} ,\n{B}\n ]\n", "item 1,item 2" },
        { "t.json", Indented(A) + Indented(B), "line 1,line 5" },
        { "t.jsonl", Indented(A) + "\n" + Indented(B), "line 1,line 6" },
        { "t.json", $$"""{"version":"0.1","data":[{{A}},{{B}}]}""", "data item 1,data item 2" },
        { "t.json", Indented($$"""{"version":"0.1","data":[{{A}},{{B}}]}"""), "data item 1,data item 2" },
    };

    private static readonly JsonSerializerOptions OverLines = new() { WriteIndented = true, NewLine = "\n" };

    private static string Indented(string json) => JsonSerializer.Serialize(JsonElement.Parse(json), OverLines) + "\n";

    [Theory]
    [MemberData(nameof(Layouts))]
    public async Task Rows_are_read_from_every_layout_and_encoding(string name, string text, string places)
    {
        foreach (Encoding encoding in new Encoding[]
        {
            new UTF8Encoding(false),
            new UTF8Encoding(true),
            new UnicodeEncoding(false, true),
            new UnicodeEncoding(true, false),
            new UnicodeEncoding(false, false),
            new UTF32Encoding(false, true)
        })
        {
            using SourceFile file = new(name, [.. encoding.GetPreamble(), .. encoding.GetBytes(text)]);
            List<SourceRow> rows = await file.Rows();
            string.Join(',', rows.Select(r => r.Place))
                .ShouldBe(string.Join(',', places.Split(',').Select(p => $"{name} {p}")), encoding.WebName);
            rows.Select(r => r.Fields.GetProperty("t").GetString()).ShouldBe(["a", "b"]);
        }
    }

    [Fact]
    public async Task One_indented_object_is_one_row_and_a_row_may_have_a_field_called_data()
    {
        using SourceFile one = new("t.json", Indented(A));
        (await one.Rows()).Single().Place.ShouldBe("t.json line 1");
        using SourceFile line = new("t.jsonl", $$"""{"data":[{{A}}]}""");
        (await line.Rows()).Single().Fields.TryGetProperty("data", out _).ShouldBeTrue();
        using SourceFile lines = new("t.json", $$"""{"data":[{{A}}]}""", $$"""{"data":[{{A}}]}""");
        (await lines.Rows()).Count.ShouldBe(2);
        using SourceFile other = new("t.json", $$"""{"rows":[{{A}}]}""");
        await SourceFile.Refused(() => other.Pairs("pairs"), "no column 'chosen'", "in its field 'rows'");
    }

    [Theory]
    [InlineData("t.json", "[" + A, "after item 1", "the array breaks off")]
    [InlineData("t.json", "[" + A + B + "]", "after item 1", "the array goes on with '{'")]
    [InlineData("t.json", "[" + A + "] x", "after item 1", "is followed by 'x'")]
    [InlineData("t.json", "[" + A + ",]", "item 2", "not JSON")]
    [InlineData("t.json", "[" + A + ",{\"n\":", "item 2", "breaks off")]
    [InlineData("t.json", "[null]", "item 1", "a JSON Null")]
    [InlineData("t.json", "{\n \"n\": 1,\n", "line 1", "the object that begins there breaks off")]
    [InlineData("t.jsonl", "{\"n\": 1,\n" + A, "line 1", "the line breaks off")]
    [InlineData("t.jsonl", "{\"n\": \"x\n" + A, "line 1", "the line breaks off")]
    [InlineData("t.jsonl", "{\"n\": {\"n\": 1, \"m\": {}}", "line 1", "not JSON")]
    public async Task What_is_broken_is_named_where_it_breaks(string name, string text, string place, string found)
    {
        using SourceFile file = new(name, text);
        await SourceFile.Refused(file.Rows, $"{name} {place}", found);
    }

    [Fact]
    public async Task Damaged_text_is_refused_in_every_layout()
    {
        byte[] bad = [.. "{\"t\":\""u8, 0xe9, .. "\"}"u8];
        foreach ((string name, byte[] bytes) in new[]
        {
            ("t.jsonl", bad),
            ("t.json", [(byte)'[', .. bad, (byte)']']),
            ("t.jsonl", [0xef, 0xbb, 0xbf, .. bad])
        })
        {
            using SourceFile file = new(name, bytes);
            await SourceFile.Refused(file.Rows, name, "not UTF-8", "Convert the file to UTF-8");
        }
        using SourceFile later = new("t.jsonl",
            [.. Encoding.UTF8.GetBytes(
                string.Concat(Enumerable.Repeat(A + "\n", 5000))), .. bad, (byte)'\n', .. Encoding.UTF8.GetBytes(B)]);
        await SourceFile.Refused(later.Rows, "t.jsonl line 5001: bytes that are not UTF-8");
        using SourceFile wide =
            new("t.jsonl", [.. Encoding.Unicode.GetBytes("{\"t\":\""), 0x3d, 0xd8, .. Encoding.Unicode.GetBytes("\"}")]);
        await SourceFile.Refused(wide.Rows, "not UTF-16");
    }

    [Theory]
    [InlineData("""{"t":"x \ud83d y"}""", "x \ufffd y", 1)]
    [InlineData("""{"t":"\uDE00\ud83d"}""", "\ufffd\ufffd", 2)]
    [InlineData("""{"t":"\ud83d\ud83d\ude00"}""", "\ufffd\U0001F600", 1)]
    [InlineData("""{"t":"\ud83d\ude00"}""", "\U0001F600", 0)]
    [InlineData("""{"t":"\\ud83d"}""", "\\ud83d", 0)]
    [InlineData("""{"t":"\\\ud83d"}""", "\\\ufffd", 1)]
    [InlineData("""{"\ud83d":1,"t":"ok"}""", "ok", 1)]
    public async Task Half_a_surrogate_pair_becomes_a_replacement_character_and_is_counted(string row, string expected, int replaced)
    {
        foreach ((string name, string text) in new[] { ("t.jsonl", row), ("t.json", $"[{row}]") })
        {
            using SourceFile file = new(name, text);
            SourceRow read = (await file.Rows()).Single();
            read.Fields.GetProperty("t").GetString().ShouldBe(expected);
            read.Replaced.ShouldBe(replaced);
            _ = read.Fields.EnumerateObject().Select(p => p.Name).ToArray();
        }
        using SourceFile pairs = new("t.jsonl", """{"prompt":"P","chosen":"\ud83d","rejected":"b"}""");
        SourceFile.Texts(await pairs.Pairs("pairs")).ShouldBe("u:P | a:\ufffd > b");
        pairs.Report.RowsWithReplacedText.ShouldBe(1);
    }

    [Theory]
    [InlineData("t.jsonl")]
    [InlineData("t.json")]
    public async Task A_number_that_is_not_finite_is_refused_only_where_it_is_read(string name)
    {
        string row = """{"prompt":"P NaN","response":"a","unread":NaN,"more":[Infinity,-Infinity],"h":1}""";
        foreach (string text in new[] { row, row.Replace("\"h\":1", "\"h\":NaN", StringComparison.Ordinal) })
        {
            using SourceFile file = new(name, name == "t.json" ? $"[{text}]" : text);
            RatedFormat format = RatedFormats.Find("columns", ["q"], [new RatedColumn("q", "h", new Scale(0, 1))], []);
            if (text == row) SourceFile.Text((await file.Ratings(format)).Single().Conversation).ShouldBe("u:P NaN | a:a");
            else await SourceFile.Refused(() => file.Ratings(format), "1 column 'h': NaN; expected a finite number");
        }
    }

    [Fact]
    public async Task Parquet_columns_that_nobody_reads_may_hold_anything_and_the_order_is_the_schemas()
    {
        ParquetSchema schema = new(new DataField<double?>("nan"), new DataField<string>("prompt"), new DataField<double?>("h"),
            new DataField<string>("response"),
                new DataField<DateTime?>("when"), new DataField<ReadOnlyMemory<byte>?>("picture"), new DataField<ulong?>("big"),
                new DataField<bool?>("safe"));
        Dictionary<string, object?> first = new()
        {
            ["nan"] = double.NaN,
            ["prompt"] = "P",
            ["h"] = null,
            ["response"] = "a",
            ["when"] = DateTime.UnixEpoch,
            ["picture"] = new ReadOnlyMemory<byte>([0xff, 0xd8]),
            ["big"] = ulong.MaxValue,
            ["safe"] = true
        };
        Dictionary<string, object?> second = new(first)
        {
            ["nan"] = 1.0,
            ["h"] = 0.5,
            ["response"] = "b",
            ["when"] = null,
            ["picture"] = null,
            ["big"] = null,
            ["safe"] = null
        };
        using MemoryStream bytes = new();
        await ParquetSerializer.SerializeUntypedAsync([first, second], schema, bytes,
            cancellationToken: TestContext.Current.CancellationToken);
        using SourceFile file = new("t.parquet", bytes.ToArray());
        foreach (SourceRow row in await file.Rows())
            row.Fields.EnumerateObject().Select(p => p.Name).ShouldBe(schema.Fields.Select(f => f.Name));
        SourceFile.Ratings(await file.Ratings(RatedFormats.Find("columns", ["q"], [new RatedColumn("q", "h", new Scale(0, 1))], [])))
            .ShouldBe("a: ; b: q=0.5");
        using SourceFile read = new("t.parquet", bytes.ToArray());
        await SourceFile.Refused(() =>
            read.Ratings(RatedFormats.Find("columns", ["q"], [new RatedColumn("q", "nan", new Scale(0, 1))], [])),
            "t.parquet row 1 column 'nan': NaN");
    }

    [Fact]
    public async Task Parquet_that_the_library_does_not_read_is_named_as_such()
    {
        using SourceFile encrypted = new("t.parquet", [.. "PARE"u8, .. new byte[40], 40, 0, 0, 0, .. "PARE"u8]);
        await SourceFile.Refused(encrypted.Rows, "t.parquet: Parquet that ArmoFlow does not read yet: an encrypted footer",
            "Write the file again");
        using SourceFile lists = new("t.parquet", File.ReadAllBytes(SharedData.Require("cases/p21-arrowrs-v2/t.parquet")));
        await SourceFile.Refused(lists.Rows, "lists in data pages of version 2", "column 'chosen", "data_page_version");
    }

    [Fact]
    public async Task Zeros_after_compressed_data_are_no_data()
    {
        foreach (int rows in new[] { 1, 7, 20, 300, 5000 }) // lengths whose last bytes are zeros of their own
        {
            byte[] zipped = Zip(string.Concat(Enumerable.Repeat(A + "\n", rows)));
            foreach (byte[] bytes in new byte[][]
            {
                [.. zipped, .. new byte[512]],
                [.. zipped, 0],
                [.. zipped, .. new byte[100_000]],
                [.. zipped, .. zipped, .. new byte[3]]
            })
            {
                using SourceFile file = new("t.jsonl.gz", bytes);
                (await file.Rows()).Count.ShouldBe(bytes.Length > zipped.Length * 2 && bytes[zipped.Length] != 0 ? 2 * rows : rows);
            }
            using SourceFile cut = new("t.jsonl.gz", [.. zipped[..^9], .. new byte[512]]);
            await SourceFile.Refused(cut.Rows, "t.jsonl.gz", "gzip");
        }
    }

    private static byte[] Zip(string text)
    {
        using MemoryStream bytes = new();
        using (GZipStream zip = new(bytes, CompressionLevel.Fastest)) zip.Write(Encoding.UTF8.GetBytes(text));
        return bytes.ToArray();
    }

    [Theory]
    [InlineData("""{"a":null,"b":1,"c":"x"}""", """{"a":2,"b":null,"c":"3"}""", "a,b")]
    [InlineData("""{"a":"4","b":3}""", """{"a":2,"b":1}""", "a,b")]
    [InlineData("""{"a":"4","b":"N/A"}""", """{"a":"2","b":"1"}""", "a,b")]
    [InlineData("""{"id":"r1","a":true,"list":[1],"o":{}}""", """{"id":"r2","a":null,"list":[],"o":null,"z":1}""", "a,z")]
    [InlineData("""{"a":null,"b":null}""", """{"a":null,"b":1}""", "a,b")]
    public async Task Label_columns_are_found_by_all_rows_in_the_files_order(string first, string second, string expected)
    {
        using SourceFile file = new("t.jsonl", first, second);
        LabelColumns columns = new();
        foreach (SourceRow row in await file.Rows()) columns.Read(row);
        columns.Names().ShouldBe(expected.Split(','));
    }

    [Theory]
    [InlineData("\"4\"", "2", 4.0, 2.0)]
    [InlineData("\"4\"", "\"N/A\"", 4.0, null)]
    public async Task Numbers_in_text_are_labels_like_others(string first, string second, double? a, double? b)
    {
        using SourceFile file = new("t.jsonl", $$"""{"h":{{first}}}""", $$"""{"h":{{second}}}""");
        LabelColumns columns = new();
        Dictionary<string, double>[] read = [.. (await file.Rows()).Select(columns.Read)];
        read.Select(r => r.TryGetValue("h", out double value) ? value : (double?)null).ShouldBe([a, b]);
        columns.Names().ShouldBe(["h"]);
    }

    [Theory]
    [InlineData("\"high\"", "2", "t.jsonl line 1 column 'h': the text 'high'")]
    [InlineData("2", "\"high\"", "t.jsonl line 2 column 'h': the text 'high'")]
    [InlineData("2", "[1]", "t.jsonl line 2 column 'h': a JSON Array")]
    [InlineData("2", "NaN", "t.jsonl line 2 column 'h': NaN")]
    [InlineData("NaN", "null", "t.jsonl line 1 column 'h': NaN")]
    public async Task A_column_of_numbers_and_something_else_is_refused_with_the_row(string first, string second, string expected)
    {
        using SourceFile file = new("t.jsonl", $$"""{"h":{{first}}}""", $$"""{"h":{{second}}}""");
        LabelColumns columns = new();
        List<SourceRow> rows = await file.Rows();
        Should.Throw<InvalidInputException>(() => rows.ForEach(row => columns.Read(row))).Message.ShouldContain(expected);
    }
}
