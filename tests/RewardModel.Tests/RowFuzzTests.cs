using System.IO.Compression;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ArmoFlow.RewardModel.Ingestion;
using Parquet.Schema;
using Parquet.Serialization;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>
/// Whatever stands in a file, it is read, or refused with place, found, expected and remedy; nothing else is ever thrown.
/// </summary>
public partial class RowFuzzTests
{
    private const int Seed = 20260101, MutantsOfARow = 100, DamagedFilesOfAKind = 150, LongestMessage = 8_000;

    /// <summary>A right row of every format.</summary>
    private static readonly (string Kind, string Format, string Row)[] Sound =
    [
        ("ratings", "armorm-ratings",
            """{"messages":[{"role":"user","content":"P"},"""
                + """{"role":"assistant","content":"R"}],"helpsteer-helpfulness":0.5,"beavertails-is_safe":true,"""
                + """ "argilla-judge_lm":"0.25","source":"x"}"""),
        ("ratings", "columns", """{"prompt":[{"role":"user","content":"P"}],"response":"R","stars":"4"}"""),
        ("ratings", "helpsteer",
            """{"prompt":"P\n<extra_id_1>Assistant\nQ\n<extra_id_1>User\nS","response":"R","helpfulness":4,"""
                + """ "correctness":3,"coherence":2,"complexity":1,"verbosity":0}"""),
        ("ratings", "ultrafeedback",
            """{"instruction":"P","completions":["""
                + """{"response":"R","overall_score":10,"annotations":{"instruction_following":{"Rating":"5"},"""
                + """ "honesty":{"Rating":"N/A"}}},"""
                + """{"response":"S","overall_score":2,"annotations":null}]}"""),
        ("ratings", "beavertails", """{"prompt":"P","response":"R","is_safe":false}"""),
        ("ratings", "code-ultrafeedback",
            """{"instruction":"P","preference":"style","responses":[{"model":"m","response":"R"},"""
                + """{"model":"n","response":"S"}],"annotations":[{"model":"m","rating":"4"},{"model":"n","rating":"1"}]}"""),
        ("ratings", "prometheus", """{"orig_instruction":"P","orig_response":"R","orig_score":"3"}"""),
        ("ratings", "argilla-capybara",
            """{"chosen":[{"role":"user","content":"P"},{"role":"assistant","content":"R"}],"rejected":[{"role":"user","content":"P"},"""
                + """{"role":"assistant","content":"S"}],"rating_chosen":5,"rating_rejected":2}"""),
        ("ratings", "argilla-openorca", """{"system":"S","input":"P","generations":["R","S"],"rating":[10,1]}"""),
        ("ratings", "argilla-math",
            """{"instruction":"P","chosen_response":"R","rejected_response":"S","chosen_rating":5,"rejected_rating":1}"""),
        ("pairs", "pairs",
            """{"prompt":[{"role":"user","content":"P"}],"chosen":[{"role":"assistant","content":"R"}],"rejected":["""
                + """{"role":"assistant","content":"S"}]}"""),
        ("pairs", "argilla-capybara",
            """{"chosen":[{"role":"user","content":"P"},{"role":"assistant","content":"R"}],"rejected":[{"role":"user","content":"P"},"""
                + """{"role":"assistant","content":"S"}]}"""),
        ("pairs", "argilla-math", """{"instruction":"P","chosen_response":"R","rejected_response":"S"}"""),
        ("pairs", "shp", """{"history":"P","human_ref_A":"R","human_ref_B":"S","labels":0}"""),
        ("pairs", "hh-rlhf", """{"chosen":"\n\nHuman: P\n\nAssistant: R","rejected":"\n\nHuman: P\n\nAssistant: S"}"""),
        ("pairs", "pku-saferlhf", """{"prompt":"P","response_0":"R","response_1":"S","better_response_id":1}"""),
        ("pairs", "prometheus2", """{"orig_instruction":"P","orig_response_A":"R","orig_response_B":"S","orig_preference":"A"}"""),
        ("pairs", "prm-phase-2",
            """{"question":{"problem":"P"},"label":{"steps":[{"completions":["""
                + """{"text":"n","rating":0}],"human_completion":null,"chosen_completion":0},{"completions":[{"text":"R","rating":1},"""
                + """{"text":"S","rating":-1}],"chosen_completion":null}]}}"""),
        ("pairs", "ultrafeedback",
            """{"instruction":"P","completions":[{"response":"S","overall_score":2},{"response":"R","overall_score":9}]}"""),
        ("pairs", "code-ultrafeedback",
            """{"instruction":"P","preference":"coding-style","responses":[{"model":"m","response":"S"},"""
                + """{"model":"n","response":"R"}],"annotations":[{"model":"m","rating":"1"},{"model":"n","rating":"4"}]}"""),
        ("benchmark", "rewardbench", """{"id":7,"subset":"s","prompt":[{"role":"user","content":"P"}],"chosen":"R","rejected":"S"}"""),
        ("labels", "step features",
            """{"messages":[{"role":"user","content":"P"},{"role":"assistant","content":"R"}],"a":1,"b":"2","c":null,"source":"x"}"""),
    ];

    /// <summary>What may stand where something else was expected; some of it is no JSON.</summary>
    private static readonly string[] Strange =
    [
        "null", "true", "false", "0", "-1", "2", "0.5", "1e400", "-1e400", "123456789012345678901234567890", "1e-400", "NaN", "Infinity",
        "-Infinity", "\"\"", "\" \"",
        "\"A\"", "\"text\"", "\"4,5\"", "\"NaN\"", "\"\\ud83d\"", "\"\\udc00 x\"", "\"\\u0000\"", "[]", "{}", "[null]", "[[[[]]]]",
        "[1,\"a\",{}]", "{\"role\":7}",
        "[{\"role\":\"user\"}]", "[{\"role\":\"robot\",\"content\":\"x\"}]", "[{\"content\":\"x\",\"role\":null}]",
        "[{\"role\":\"assistant\",\"content\":\"x\"}]", "{\"\\ud83d\":1}",
        "{\"$notFinite\":\"NaN\"}", "{\"$notFinite\":7}", "undefined", "0x10", "'x'", "{\"a\":1,\"a\":2}", Deep, Long,
    ];

    private static string Deep => new string('[', 80) + new string(']', 80);

    private static string Long => $"\"{new string('y', 20_000)}\"";

    public static TheoryData<int> Formats => [.. Enumerable.Range(0, Sound.Length)];

    [Theory]
    [MemberData(nameof(Formats))]
    public async Task A_mutated_row_of_any_format_is_read_or_refused_by_name(int format)
    {
        (string kind, string name, string row) = Sound[format];
        Random random = new(Seed + format);
        (await Outcome(kind, name, "t.jsonl", Encoding.UTF8.GetBytes(row))).ShouldBeNull($"{kind} {name} as it is");
        int refused = 0;
        for (int i = 0; i < MutantsOfARow; i++)
        {
            string mutant = Mutate(row, random);
            bool isArray = i % 3 == 2;
            byte[] bytes = Encoding.UTF8.GetBytes(isArray ? $"[{row},{mutant}]" : $"{row}\n{mutant}\n");
            string? message = await Outcome(kind, name, isArray ? "t.json" : "t.jsonl", bytes);
            if (message is null) continue;
            refused++;
            RequireForm(message, mutant);
        }
        refused.ShouldBeGreaterThan(MutantsOfARow / 4, "else the mutation does nothing");
    }

    [Theory]
    [InlineData("t.jsonl")]
    [InlineData("t.json")]
    [InlineData("t.jsonl.gz")]
    [InlineData("t.json.gz")]
    [InlineData("t.parquet")]
    public async Task A_damaged_file_of_any_kind_is_read_or_refused_by_name(string file)
    {
        byte[] whole = await Whole(file);
        (await Outcome("pairs", "pairs", file, whole)).ShouldBeNull();
        Random random = new(Seed);
        int refused = 0;
        for (int i = 0; i < DamagedFilesOfAKind; i++)
        {
            byte[] damaged = Damage(whole, random);
            if (await Outcome("pairs", "pairs", file, damaged) is not { } message) continue;
            refused++;
            RequireForm(message, $"damage {i}");
        }
        refused.ShouldBeGreaterThan(DamagedFilesOfAKind / 5);
    }

    [Fact]
    public async Task A_parquet_column_of_any_type_is_read_or_refused_by_name()
    {
        (Field Field, object? Value)[] types =
        [
            (new DataField<int?>("x"), 1), (new DataField<long?>("x"), long.MaxValue), (new DataField<ulong?>("x"), ulong.MaxValue),
            (new DataField<double?>("x"), double.NaN),
            (new DataField<float?>("x"), 0.5f), (new DataField<bool?>("x"), true), (new DataField<string>("x"), "4"),
            (new DataField<string>("x"), null),
            (new DataField<DateTime?>("x"), DateTime.UnixEpoch), (new DataField<Guid?>("x"), Guid.Empty),
            (new DecimalDataField("x", 20, 5), 1.5m), (new DataField<ReadOnlyMemory<byte>?>("x"), new ReadOnlyMemory<byte>([1, 0xff])),
            (new DataField<ReadOnlyMemory<byte>?>("x"), new ReadOnlyMemory<byte>([65])),
        ];
        int next = 0; // a new schema costs the library milliseconds: each column gets another type of them
        foreach ((string kind, string format, string row) in Sound)
        {
            foreach (KeyValuePair<string, JsonNode?> replaced in JsonNode.Parse(row)!.AsObject())
            {
                (Field like, object? value) = types[next++ % types.Length];
                (byte[] bytes, bool isWritten) = await Table(row, replaced.Key, like, value);
                if (isWritten && await Outcome(kind, format, "t.parquet", bytes) is { } message)
                    RequireForm(message, $"{format} {replaced.Key} {like}");
            }
        }
    }

    /// <summary>A row's columns of texts and numbers as a table, one of them of another type.</summary>
    private static async Task<(byte[], bool)> Table(string row, string replaced, Field like, object? value)
    {
        List<Field> fields = [];
        Dictionary<string, object?> cells = [];
        foreach ((string column, JsonNode? node) in JsonNode.Parse(row)!.AsObject())
        {
            if (column != replaced && node is not JsonValue and not null) return ([], false); // lists are the damaged files' part
            fields.Add(column == replaced ? Named(like, column) : new DataField<string>(column));
            cells[column] = column == replaced ? value : node?.ToString();
        }
        using MemoryStream bytes = new();
        await ParquetSerializer.SerializeUntypedAsync([cells], new ParquetSchema(fields), bytes);
        return (bytes.ToArray(), true);
    }

    private static DataField Named(Field like, string name) => like switch
    {
        DecimalDataField d => new DecimalDataField(name, d.Precision, d.Scale),
        DataField f => new DataField(name, f.ClrType, f.IsNullable),
        _ => throw new InvalidOperationException(),
    };

    private sealed record Turn(string role, string content);

    private sealed record Pair(List<Turn> chosen, List<Turn> rejected, string note, double? number);

    private static async Task<byte[]> Whole(string file)
    {
        Pair[] pairs = [.. Enumerable.Range(0, 12).Select(i => new Pair([new("user", $"P{i}"), new("assistant", $"good {i}")],
            [new("user", $"P{i}"), new("assistant", $"bad {i}")], "é\U0001F600", i % 2 == 0 ? null : i))];
        if (file.EndsWith(".parquet", StringComparison.Ordinal))
        {
            using MemoryStream table = new();
            await ParquetSerializer.SerializeAsync(pairs, table);
            return table.ToArray();
        }
        string[] rows = [.. pairs.Select(p => System.Text.Json.JsonSerializer.Serialize(p))];
        byte[] text = Encoding.UTF8.GetBytes(file.Contains("jsonl", StringComparison.Ordinal)
            ? string.Join('\n', rows)
            : $"[{string.Join(",\n", rows)}]");
        if (!file.EndsWith(".gz", StringComparison.Ordinal)) return text;
        using MemoryStream zipped = new();
        using (GZipStream zip = new(zipped, CompressionLevel.Fastest)) zip.Write(text);
        return zipped.ToArray();
    }

    /// <summary>Bytes changed, cut out, doubled or filled with zeros.</summary>
    private static byte[] Damage(byte[] whole, Random random)
    {
        List<byte> bytes = [.. whole];
        for (int times = random.Next(1, 4); times > 0 && bytes.Count > 0; times--)
        {
            int at = random.Next(4) == 0 ? Math.Max(0, bytes.Count - 1 - random.Next(40)) : random.Next(bytes.Count);
            int count = Math.Min(random.Next(1, 30), bytes.Count - at);
            switch (random.Next(6))
            {
                case 0: bytes[at] ^= (byte)(1 << random.Next(8)); break;
                case 1: bytes[at] = (byte)random.Next(256); break;
                case 2: bytes.RemoveRange(at, count); break;
                case 3: bytes.InsertRange(at, bytes.GetRange(at, count)); break;
                case 4: bytes.RemoveRange(at, bytes.Count - at); break;
                default: for (int i = 0; i < count; i++) bytes[at + i] = 0; break;
            }
        }
        return [.. bytes];
    }

    /// <summary>One value or name of a row replaced, or taken out, or the text cut.</summary>
    private static string Mutate(string row, Random random)
    {
        if (random.Next(20) == 0) return row[..random.Next(1, row.Length)];
        List<(int Begin, int End)> values = [.. ValuePattern().Matches(row).Select(m => (m.Index, m.Index + m.Length))];
        if (random.Next(3) == 0)
            values = [.. ContainerPattern().Matches(row).Select(m => (m.Index, m.Index + m.Length)), .. values.Take(1)];
        (int begin, int end) = values[random.Next(values.Count)];
        return row[..begin] + Strange[random.Next(Strange.Length)] + row[end..];
    }

    [GeneratedRegex("""(?<=[:\[,])("([^"\\]|\\.)*"(?!:)|-?[0-9.]+|true|false|null)|"[a-z_A-Z0-9-]+"(?=:)""")]
    private static partial Regex ValuePattern();

    [GeneratedRegex("""(?<=:)(\[[^\[\]]*\]|\{[^{}]*\})""")]
    private static partial Regex ContainerPattern();

    /// <summary>The message of the project's own error; null where all was read.</summary>
    private static async Task<string?> Outcome(string kind, string format, string name, byte[] bytes)
    {
        using SourceFile file = new(name, bytes) { MaxDroppedShare = bytes.Length % 2 };
        try
        {
            switch (kind)
            {
                case "ratings" when format == "columns":
                    await file.Ratings(RatedFormats.Find(format, ["q"], [new RatedColumn("q", "stars", new Scale(1, 5))], []));
                    break;
                case "ratings": await file.Ratings(format); break;
                case "pairs": await file.Pairs(format); break;
                case "benchmark": await file.Benchmark(); break;
                default:
                    LabelColumns columns = new();
                    foreach (SourceRow row in await file.Rows())
                    {
                        row.Messages("messages");
                        columns.Read(row);
                    }
                    break;
            }
            return null;
        }
        catch (InvalidInputException e) { return e.Message; }
        catch (Exception e) when (e is not Xunit.Sdk.IAssertionException)
        {
            string text = Encoding.UTF8.GetString(bytes);
            throw new InvalidOperationException($"{format} in {name} ended with {e.GetType()}: "
                + $"{e.Message}\n{text[..Math.Min(2000, text.Length)]}",
                e);
        }
    }

    private static void RequireForm(string message, string mutant)
    {
        Form().IsMatch(message).ShouldBeTrue($"'{message}' of {mutant[..Math.Min(300, mutant.Length)]}");
        message.Length.ShouldBeLessThan(LongestMessage);
        message.EnumerateRunes()
            .Count(r => r == Rune.ReplacementChar)
            .ShouldBe(message.Count(c => c == '\ufffd'), "no half surrogate pair in a message");
    }

    /// <summary>Place (the file first), found, expected, remedy.</summary>
    [GeneratedRegex(@"^t\.[a-z.]+( \S.*)?: .+; expected .+\. \S.*$", RegexOptions.Singleline)]
    private static partial Regex Form();
}
