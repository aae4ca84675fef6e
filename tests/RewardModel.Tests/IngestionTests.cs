using System.IO.Compression;
using System.Text;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using Parquet.Serialization;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

public class IngestionTests
{
    private const string Message = """{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"x":0.5}""";

    [Theory]
    [InlineData("a.jsonl")]
    [InlineData("a.json")]
    [InlineData("a.jsonl.gz")]
    public async Task Lines_are_read_plain_and_zipped(string name)
    {
        using TemporaryFolder folder = new();
        Put(folder, name, Message + "\n\n" + Message + "\n");
        (await Rows(folder.File(name))).Select(r => r.Place).ShouldBe([$"{name} line 1", $"{name} line 3"]);
    }

    [Theory]
    [InlineData("a.json")]
    [InlineData("a.json.gz")]
    public async Task A_json_array_is_streamed(string name)
    {
        using TemporaryFolder folder = new();
        Put(folder, name, $"  [{Message},\n{Message}]");
        (await Rows(folder.File(name))).Count.ShouldBe(2);
    }

    [Fact]
    public async Task Parquet_rows_come_as_objects_with_nested_lists()
    {
        using TemporaryFolder folder = new();
        await using (FileStream stream = File.Create(folder.File("a.parquet")))
        {
            await ParquetSerializer.SerializeAsync([
                new Nested("p", 2.5, [new Turn("user", "Q"), new Turn("assistant", "A")], ["a", "b"]),
                new Nested("q", null, [], [])
            ], stream);
        }
        List<SourceRow> rows = await Rows(folder.File("a.parquet"));
        rows.Count.ShouldBe(2);
        rows[0].Fields.GetProperty("Score").GetDouble().ShouldBe(2.5);
        rows[0].Fields.GetProperty("Prompt").GetString().ShouldBe("p");
        rows[0].Fields.GetProperty("Parts").EnumerateArray().Select(p => p.GetString()).ShouldBe(["a", "b"]);
        rows[0].Fields.GetProperty("Turns")[1].GetProperty("Content").GetString().ShouldBe("A");
        rows[1].Fields.GetProperty("Score").ValueKind.ShouldBe(System.Text.Json.JsonValueKind.Null);
        rows[1].Place.ShouldBe("a.parquet row 2");
    }

    private sealed record Turn(string Role, string Content);

    private sealed record Nested(string Prompt, double? Score, List<Turn> Turns, List<string> Parts);

    [Fact]
    public async Task A_parquet_file_that_is_none_is_refused()
    {
        using TemporaryFolder folder = new();
        folder.Write("bad.parquet", "PAR1 and no more");
        await Refused(() => Rows(folder.File("bad.parquet")), "bad.parquet", "not a readable Parquet file");
    }

    [Fact]
    public async Task Of_a_file_that_may_be_anything_nothing_is_shown_and_of_a_damaged_row_no_more_than_its_beginning()
    {
        using TemporaryFolder folder = new();
        folder.Write("a.jsonl", "root:$6$salt$S3cret:19000:0:99999:7::: {}\n");
        InvalidInputException first = await Should.ThrowAsync<InvalidInputException>(() => Rows(folder.File("a.jsonl")));
        first.Message.ShouldContain("line 1: not JSON at byte 1 of its first row");
        first.Message.ShouldNotContain("S3cret");
        folder.Write("a.jsonl", Message + "\n{\"x\": " + new string('y', 39) + "S3cret}\n");
        InvalidInputException later = await Should.ThrowAsync<InvalidInputException>(() => Rows(folder.File("a.jsonl")));
        later.Message.ShouldContain("yyyy");
        later.Message.ShouldNotContain("S3cret");
    }

    [Theory]
    [InlineData("""{"messages": [{"role": "us""", "line 2", "breaks off")]
    [InlineData("""{"x": 1 "y": 2}""", "line 2", "not JSON at byte")]
    [InlineData("[1, 2]", "line 2", "a JSON Array")]
    public async Task A_damaged_line_is_named_with_what_was_found(string line, string place, string found)
    {
        using TemporaryFolder folder = new();
        folder.Write("a.jsonl", Message + "\n" + line + "\n");
        await Refused(() => Rows(folder.File("a.jsonl")), place, found);
    }

    [Fact]
    public async Task A_truncated_gzip_is_told_wherever_it_was_cut()
    {
        using TemporaryFolder folder = new();
        Put(folder, "a.jsonl.gz",
            string.Concat(Enumerable.Range(0, 2000)
                .Select(i => Message.Replace("\"A\"", $"\"A{i * 7919}\"", StringComparison.Ordinal) + "\n")));
        byte[] whole = File.ReadAllBytes(folder.File("a.jsonl.gz"));
        foreach (int keep in new[] { 5, 30, whole.Length / 2, whole.Length - 9, whole.Length - 4, whole.Length - 1 })
        {
            File.WriteAllBytes(folder.File("cut.jsonl.gz"), whole[..keep]);
            await Refused(() => Rows(folder.File("cut.jsonl.gz")), "cut.jsonl.gz", "gzip");
        }
        File.WriteAllBytes(folder.File("two.jsonl.gz"), [.. whole, .. whole]);
        (await Rows(folder.File("two.jsonl.gz"))).Count.ShouldBe(4000, "members may be concatenated");
    }

    [Fact]
    public async Task Missing_files_other_kinds_bad_encodings_and_cut_arrays_are_refused()
    {
        using TemporaryFolder folder = new();
        await Refused(() => Rows(folder.File("none.jsonl")), "no such file");
        await Refused(() => Rows(folder.Write("a.csv", "x")), ".csv");
        File.WriteAllBytes(folder.File("latin.jsonl"), Encoding.Latin1.GetBytes("""{"x": "é"}"""));
        await Refused(() => Rows(folder.File("latin.jsonl")), "not UTF-8");
        await Refused(() => Rows(folder.Write("cut.json", $"[{Message},")), "cut.json", "not JSON");
        await Refused(() => Rows(folder.Write("items.json", "[1]")), "item 1");
    }

    [Theory]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":" \n"}]}""", "empty response")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"}]}""", "ends with a user turn")]
    [InlineData("""{"messages":[]}""", "no turns")]
    [InlineData("""{"messages":[{"role":"assistant","content":"A"}]}""", "without a prompt")]
    [InlineData("""{"messages":[{"role":"robot","content":"Q"},{"role":"assistant","content":"A"}]}""", "'robot'")]
    [InlineData("""{"messages":"Q"}""", "a JSON String")]
    [InlineData("""{"message":[]}""", "Did you mean 'message'?")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"helpful":"high"}""", "the text 'high'")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"helpful":1.5}""", "a rating from 0 to "
        + "1")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"helpfull":0.5}""",
        "Did you mean 'helpful'?")]
    [InlineData("""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"A"}],"helpful":[1]}""", "a JSON Array")]
    public async Task A_rated_row_with_a_defect_is_refused_with_file_and_line(string row, string expected)
    {
        using TemporaryFolder folder = new();
        folder.Write("r.jsonl", row + "\n");
        await Refused(() => Ratings(folder, "r.jsonl", "armorm-ratings", ["helpful"]), "r.jsonl line 1", expected);
    }

    [Fact]
    public async Task Absent_ratings_stay_absent_and_booleans_are_one_and_zero()
    {
        using TemporaryFolder folder = new();
        folder.Write("r.jsonl",
            """{"messages":[{"role":"user","content":"Q"},"""
                + """{"role":"assistant","content":"A"}],"a":null,"b":true,"skipped":3,"source":"text"}"""
                + "\n");
        (List<RatedResponse> rows, _) = await Ratings(folder, "r.jsonl", "armorm-ratings", ["a", "b", "c"], ignored: ["skipped"]);
        rows.Single().Ratings.ShouldBe(new Dictionary<string, double> { ["b"] = 1 });
    }

    [Fact]
    public async Task Duplicates_are_counted_and_left_out_but_the_same_response_rated_differently_stays()
    {
        using TemporaryFolder folder = new();
        folder.Write("r.jsonl",
            Message + "\n" + Message.Replace("\"Q\"", "\" Q \"", StringComparison.Ordinal) + "\n"
                + Message.Replace("0.5", "0.7", StringComparison.Ordinal) + "\n");
        (List<RatedResponse> rows, SourceReport report) = await Ratings(folder, "r.jsonl", "armorm-ratings", ["x"]);
        rows.Count.ShouldBe(2);
        (report.RowsRead, report.Kept, report.Duplicates).ShouldBe((3, 2, 1));
    }

    [Theory]
    [InlineData("helpsteer",
        """{"prompt":"P","response":"R","helpfulness":4,"correctness":3,"coherence":2,"complexity":1,"verbosity":0}""",
        "helpsteer-helpfulness=1,helpsteer-correctness=0.75,helpsteer-coherence=0.5,helpsteer-complexity=0.25,helpsteer-verbosity=0")]
    [InlineData("ultrafeedback",
        """{"instruction":"P","completions":["""
            + """{"response":"R","overall_score":10,"annotations":{"instruction_following":{"Rating":"5"},"truthfulness":{"Rating":"1"},"""
            + """ "honesty":{"Rating":"N/A"},"helpfulness":{"Rating":"3"}}}]}""",
        "ultrafeedback-overall-score=1,ultrafeedback-instruction-following=1,ultrafeedback-truthfulness=0,ultrafeedback-helpfulness=0.5")]
    [InlineData("beavertails", """{"prompt":"P","response":"R","is_safe":false}""", "beavertails-is-safe=0")]
    [InlineData("code-ultrafeedback",
        """{"instruction":"P","preference":"coding-style","responses":[{"model":"m","response":"R"}],"annotations":["""
            + """{"model":"m","rating":"4"}]}""",
        "code-style=0.75")]
    [InlineData("prometheus", """{"orig_instruction":"P","orig_response":"R","orig_score":"3"}""", "prometheus-score=0.5")]
    [InlineData("argilla-capybara",
        """{"chosen":[{"role":"user","content":"P"},{"role":"assistant","content":"R"}],"rejected":[{"role":"user","content":"P"},"""
            + """{"role":"assistant","content":"S"}],"rating_chosen":5,"rating_rejected":2}""",
        "argilla-overall-quality=1;argilla-overall-quality=0.25")]
    [InlineData("argilla-openorca", """{"system":"S","input":"P","generations":["R","S"],"rating":[10,1]}""",
        "argilla-judge-lm=1;argilla-judge-lm=0")]
    [InlineData("argilla-math",
        """{"instruction":"P","chosen_response":"R","rejected_response":"S","chosen_rating":5,"rejected_rating":1}""",
        "ultrafeedback-instruction-following=1;ultrafeedback-instruction-following=0")]
    public async Task Named_formats_use_the_scales_of_appendix_a(string format, string row, string expected)
    {
        using TemporaryFolder folder = new();
        folder.Write("r.jsonl", row + "\n");
        (List<RatedResponse> rows, _) = await Ratings(folder, "r.jsonl", format, RatedFormats.PaperObjectives);
        string.Join(';', rows.Select(r => string.Join(',', r.Ratings.Select(x => FormattableString.Invariant($"{x.Key}={x.Value}")))))
            .ShouldBe(expected);
    }

    [Theory]
    [InlineData("helpsteer",
        """{"prompt":"P","response":"R","helpfulness":5,"correctness":3,"coherence":2,"complexity":1,"verbosity":0}""",
        "a rating from 0 to 4")]
    [InlineData("ultrafeedback", """{"instruction":"P","completions":[{"response":"R","overall_score":0}]}""", "a rating from 1 to 10")]
    [InlineData("code-ultrafeedback", """{"instruction":"P","preference":"speed","responses":[],"annotations":[]}""", "'speed'")]
    [InlineData("argilla-openorca", """{"system":"","input":"P","generations":["R"],"rating":[]}""", "0 ratings for 1 generations")]
    [InlineData("prometheus", """{"orig_instruction":"P","orig_response":"R","orig_score":"good"}""", "the text 'good'")]
    [InlineData("helpstear", "{}", "Did you mean 'helpsteer'?")]
    public async Task Named_formats_refuse_what_is_out_of_their_range(string format, string row, string expected)
    {
        using TemporaryFolder folder = new();
        folder.Write("r.jsonl", row + "\n");
        await Refused(() => Ratings(folder, "r.jsonl", format, RatedFormats.PaperObjectives), expected);
    }

    [Fact]
    public async Task Declared_columns_are_rescaled_by_their_declared_range()
    {
        using TemporaryFolder folder = new();
        folder.Write("r.jsonl", """{"prompt":"P","response":"R","stars":4}""" + "\n");
        SourceReport report = Report();
        RatedFormat format = RatedFormats.Find("columns", ["quality"], [new RatedColumn("quality", "stars", new Scale(1, 5))], []);
        await foreach (RatedResponse r in SourceIngestion.Items(Of(folder, "r.jsonl", 0), format.Read, r => r.Conversation.Id, report))
            r.Ratings["quality"].ShouldBe(0.75);
        report.Kept.ShouldBe(1);
    }

    [Theory]
    [InlineData("pairs",
        """{"chosen":[{"role":"user","content":"P"},{"role":"assistant","content":"good"}],"rejected":[{"role":"user","content":"P"},"""
            + """{"role":"assistant","content":"bad"}]}""")]
    [InlineData("shp", """{"history":"P","human_ref_A":"bad","human_ref_B":"good","labels":0}""")]
    [InlineData("hh-rlhf", """{"chosen":"\n\nHuman: P\n\nAssistant: good","rejected":"\n\nHuman: P\n\nAssistant: bad"}""")]
    [InlineData("pku-saferlhf", """{"prompt":"P","response_0":"bad","response_1":"good","better_response_id":1}""")]
    [InlineData("prometheus2", """{"orig_instruction":"P","orig_response_A":"good","orig_response_B":"bad","orig_preference":"A"}""")]
    [InlineData("prm-phase-2",
        """{"question":{"problem":"P"},"label":{"steps":[{"completions":[{"text":"good","rating":1},{"text":"bad","rating":-1},"""
            + """{"text":"so","rating":0}]},{"completions":null}]}}""")]
    [InlineData("argilla-math", """{"instruction":"P","chosen_response":"good","rejected_response":"bad"}""")]
    [InlineData("ultrafeedback",
        """{"instruction":"P","completions":[{"response":"bad","overall_score":2},{"response":"good","overall_score":9}]}""")]
    [InlineData("code-ultrafeedback",
        """{"instruction":"P","preference":"coding-style","responses":[{"model":"m","response":"bad"},"""
            + """{"model":"n","response":"good"}],"annotations":[{"model":"m","rating":"1"},{"model":"n","rating":"4"}]}""")]
    public async Task Preference_formats_tell_the_better_response(string format, string row)
    {
        using TemporaryFolder folder = new();
        folder.Write("p.jsonl", row + "\n");
        List<PreferencePair> pairs = await Pairs(folder, "p.jsonl", format, 0, Report());
        pairs.Select(p => (p.Chosen.Response.Content, p.Rejected.Response.Content, p.Chosen.Messages[0].Content))
            .ShouldBe([("good", "bad", "P")]);
    }

    [Fact]
    public async Task A_few_stray_pairs_are_dropped_and_listed_and_many_are_an_error()
    {
        string good(int i) => $$"""{"prompt":"P{{i}}","chosen":"good","rejected":"bad"}""";
        using TemporaryFolder folder = new();
        folder.Write("p.jsonl",
            string.Join('\n', [.. Enumerable.Range(0, 99).Select(good), """{"prompt":"P","chosen":"same","rejected":" same"}"""]));
        SourceReport report = Report();
        (await Pairs(folder, "p.jsonl", "pairs", 0.01, report)).Count.ShouldBe(99);
        report.Dropped.ShouldBe(new Dictionary<string, long> { ["identical chosen and rejected"] = 1 });
        report.DroppedRows.Single().ShouldContain("p.jsonl line 100");
        await Refused(() => Pairs(folder, "p.jsonl", "pairs", 0.001, Report()), "p.jsonl line 100", "identical chosen and rejected",
            "maxDroppedShare");
        await Refused(() => Pairs(folder, "p.jsonl", "pairs", 0, Report()), "p.jsonl line 100", "identical");
        folder.Write("empty.jsonl", "\n");
        await Refused(() => Pairs(folder, "empty.jsonl", "pairs", 0.01, Report()), "no usable row");
        await Refused(() => Pairs(folder, "p.jsonl", "pears", 0.01, Report()), "Did you mean 'pairs'?");
        folder.Write("t.jsonl", """{"chosen":"Human: P","rejected":"x"}""");
        await Refused(() => Pairs(folder, "t.jsonl", "hh-rlhf", 0.01, Report()), "a transcript that begins with");
    }

    [Fact]
    public async Task Rewardbench_rows_keep_subset_and_id()
    {
        using TemporaryFolder folder = new();
        folder.Write("b.jsonl",
            """{"id":7,"subset":"s","prompt":"P","chosen":"a","rejected":"b"}""" + "\n"
                + """{"id":"x","subset":"s","chosen":[{"role":"user","content":"P"},"""
                + """{"role":"assistant","content":"a"}],"rejected":[{"role":"user","content":"P"},{"role":"assistant","content":"b"}]}""");
        List<BenchmarkPair> rows = [.. (await Rows(folder.File("b.jsonl"))).Select(PairFormats.RewardBench)];
        rows.Select(r => (r.Id, r.Subset)).ShouldBe([("7", "s"), ("x", "s")]);
        rows[0].Chosen.Id.ShouldBe(rows[1].Chosen.Id);
    }

    [Fact]
    public async Task The_canonical_tables_hold_each_conversation_once_and_read_back()
    {
        using TemporaryFolder folder = new();
        Conversation a = Conversation.Create("P", "a", "here"), b = Conversation.Create("P", "b", "here");
        await using (CanonicalTables tables = new(folder.Path, ["x", "y"]))
        {
            await tables.Add(new RatedResponse(a, new Dictionary<string, double> { ["y"] = 0.25 }), "s");
            await tables.Add(new PreferencePair(a, b), "t");
            await tables.Add(new BenchmarkPair("1", "u", a, b));
            tables.DistinctConversations.ShouldBe(2);
        }
        List<Conversation> conversations = [];
        await foreach (Conversation c in CanonicalTables.ReadConversations(folder.File(CanonicalTables.Conversations)))
            conversations.Add(c);
        conversations.Select(c => (c.Id, c.PromptId)).ShouldBe([(a.Id, a.PromptId), (b.Id, b.PromptId)]);
        RatingRow rating = (await CanonicalTables.ReadRatings(folder.File(CanonicalTables.Ratings), ["x", "y"])).Single();
        rating.Labels.ShouldBe([double.NaN, 0.25]);
        (await CanonicalTables.ReadPreferences(folder.File(CanonicalTables.Preferences)))
            .Single()
            .ShouldBe(new PreferenceRow(a.Id, b.Id, a.PromptId, b.PromptId, "t"));
        (await CanonicalTables.ReadBenchmark(folder.File(CanonicalTables.Benchmark)))
            .Single()
            .ShouldBe(new BenchmarkRow("1", "u", a.Id, b.Id));
    }

    [Fact]
    public async Task Tables_longer_than_a_row_group_read_back_in_order()
    {
        using TemporaryFolder folder = new();
        await using (FileStream stream = File.Create(folder.File("t.parquet")))
        await using (ParquetTable table = new(stream, [("n", typeof(long)), ("s", typeof(string))]))
            for (int i = 0; i < 12_345; i++) await table.Add((long)i, $"row {i}");
        int n = 0;
        await foreach (Dictionary<string, object?> row in ParquetTable.Read(folder.File("t.parquet"))) ((long)row["n"]!).ShouldBe(n++);
        n.ShouldBe(12_345);
    }

    [Fact]
    public void Patterns_resolve_in_order_and_refuse_what_matches_nothing()
    {
        using TemporaryFolder folder = new();
        folder.Write("d/b.jsonl", "");
        folder.Write("d/a.jsonl", "");
        FilePatterns.Resolve(folder.Path, ["d/*.jsonl"]).Select(f => f.ShownAs).ShouldBe(["d/a.jsonl", "d/b.jsonl"]);
        Should.Throw<InvalidInputException>(() => FilePatterns.Resolve(folder.Path, ["d/*.parquet"])).Message
            .ShouldContain("matches no file");
        Should.Throw<InvalidInputException>(() => FilePatterns.Resolve(folder.Path, ["none.jsonl"])).Message.ShouldContain("no such file");
    }

    private static void Put(TemporaryFolder folder, string name, string text)
    {
        using Stream stream = name.EndsWith(".gz", StringComparison.Ordinal)
            ? new GZipStream(File.Create(folder.File(name)), CompressionLevel.Fastest)
            : File.Create(folder.File(name));
        stream.Write(Encoding.UTF8.GetBytes(text));
    }

    private static async Task<List<SourceRow>> Rows(string path)
    {
        List<SourceRow> rows = [];
        await foreach (SourceRow row in RowReader.Read(path, Path.GetFileName(path))) rows.Add(row);
        return rows;
    }

    private static async Task<(List<RatedResponse>, SourceReport)> Ratings(TemporaryFolder folder, string file, string format,
        IReadOnlyList<string> objectives, string[]? ignored = null)
    {
        SourceReport report = Report();
        List<RatedResponse> rows = [];
        await foreach (RatedResponse r in SourceIngestion.Items(Of(folder, file, 0),
            RatedFormats.Find(format, objectives, [], ignored ?? []).Read, r => r.Conversation.Id + string.Join(',', r.Ratings), report))
            rows.Add(r);
        return (rows, report);
    }

    private static async Task<List<PreferencePair>> Pairs(TemporaryFolder folder, string file, string format, double maxDropped,
        SourceReport report)
    {
        List<PreferencePair> pairs = [];
        await foreach (PreferencePair p in SourceIngestion.Items(Of(folder, file, maxDropped), PairFormats.Find(format),
            p => p.Chosen.Id + p.Rejected.Id, report))
            pairs.Add(p);
        return pairs;
    }

    private static Source Of(TemporaryFolder folder, string file, double maxDropped) =>
        new("source", "kind", "format", [(folder.File(file), file)], maxDropped);
    private static SourceReport Report() => new() { Name = "source", Kind = "kind", Format = "format", Files = [] };

    private static async Task Refused(Func<Task> action, params string[] expected)
    {
        string message = (await Should.ThrowAsync<InvalidInputException>(action)).Message;
        foreach (string part in expected) message.ShouldContain(part);
    }
}
