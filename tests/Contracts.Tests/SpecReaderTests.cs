using System.Text.RegularExpressions;
using ArmoFlow.Contracts.Specs;
using Shouldly;
using Xunit;

namespace ArmoFlow.Contracts.Tests;

public class SpecReaderTests
{
    [Fact]
    public void A_hundred_thousand_brackets_are_refused_and_the_process_lives() =>
        Should.Throw<SpecException>(() => SpecReader.Parse("name: " + new string('[', 100_000), "spec.yaml", "/")).Message
            .ShouldContain("nested more than 32 levels");

    [Theory]
    [InlineData("? &a [*a]\n: 1", "line 1", "a list or a mapping as a key")]
    [InlineData("name: x\n{a: 1}: y", "line 2", "a list or a mapping as a key")]
    [InlineData("name: &a x\n*a : y", "line 2", "an alias as a key")]
    [InlineData("name: &a [1, *a]", "line 1", "'*a', a value within itself")]
    [InlineData("name: &a {b: {c: *a}}", "line 1", "'*a', a value within itself")]
    [InlineData("name: x\n---\nname: y", "line 3", "a second document")]
    public void What_the_library_would_never_come_back_from_is_refused(string yaml, params string[] words)
    {
        string message = Should.Throw<SpecException>(() => SpecReader.Parse(yaml, "spec.yaml", "/")).Message;
        foreach (string word in words) message.ShouldContain(word);
    }

    [Fact]
    public async Task A_key_of_a_hundred_thousand_letters_is_refused_in_time()
    {
        string yaml = new string('x', 120_000) + ": 1";
        SpecException refused = await Should.ThrowAsync<SpecException>(() => Task.Run(() => SpecReader.Parse(yaml, "spec.yaml", "/"))
            .WaitAsync(TimeSpan.FromSeconds(60)));
        refused.Message.ShouldContain("spec.yaml");
    }

    [Fact]
    public void Whatever_a_spec_is_turned_into_it_is_read_or_refused()
    {
        string[] values =
        [
            "", "~", "null", "-1", "1e999", "0,5", "true", "[]", "[null]", "{}", "{a: }", "[[[]]]", "\"\\0\"", "\"\\uD800\"", "'",
            "*a", "&a [*a]", "!!int x", "!x y", "? [a]: b", "2026-01-01", "0x10", ".nan", "<<: 1", "%", "@", "\t", "---", "...",
            "name: x", new string('9', 400)
        ];
        Random random = new(20261127);
        int refused = 0, read = 0;
        for (int i = 0; i < 6000; i++)
        {
            string text = Whole;
            for (int changes = random.Next(1, 4); changes > 0; changes--) text = Changed(text, values[random.Next(values.Length)], random);
            try
            {
                SpecReader.Parse(text, "spec.yaml", "/data");
                read++;
            }
            catch (SpecException e) // anything else fails the test
            {
                e.Message.ShouldContain("spec.yaml");
                e.Message.ShouldNotContain("System.");
                refused++;
            }
        }
        read.ShouldBeGreaterThan(50, "some mutants are specs");
        refused.ShouldBeGreaterThan(1000);
    }

    /// <summary>One word is put in another's place, left out or doubled, or a character changed.</summary>
    private static string Changed(string text, string value, Random random)
    {
        MatchCollection words = Regex.Matches(text, @"[\w./*-]+");
        Match word = words[random.Next(words.Count)];
        int end = word.Index + word.Length;
        return random.Next(5) switch
        {
            0 => text[..word.Index] + value + text[end..],
            1 => text[..word.Index] + text[end..],
            2 => text[..end] + " " + word.Value + text[end..],
            3 => text[..word.Index] + value + " " + text[word.Index..],
            _ => text[..word.Index] + (char)random.Next(1, 0x2100) + text[(word.Index + 1)..],
        };
    }

    private const string Whole = """
        name: real-mini
        tags: [nightly]
        objectives: [helpful, verbosity]
        backbone: { path: backbone/, dtype: bf16, maxTokens: 1024 }
        ratings:
          - { name: judge, files: [a.jsonl.gz, b/*.parquet], format: armorm-ratings, ignore: [x] }
          - name: stars
            files: [c.jsonl]
            format: columns
            columns: { helpful: { column: stars, min: 1, max: 5 } }
        preferences:
          - { name: pairs, files: [p.jsonl] }
        benchmark: { files: [bench.jsonl], sections: { All: { s: 2 } } }
        regression: { alphas: [0.01, 1, 1e2] }
        decorrelation: { verbosity: verbosity, reference: pairs, metric: pearson }
        gating: { steps: 5, batchSize: 6, learningRate: 1e-3, beta: 7, temperature: 2, hidden: [8, 9], seed: 10 }
        evaluation: { baselines: [mean] }
        promotion: { automatic: champion, minimumScore: 0.8, sectionLoss: 0.02, objectives: { helpful: 0.1 } }
        retrain: { newRows: 50, atMostEveryHours: 6 }
        """;

    [Fact]
    public void Every_key_is_read()
    {
        RunSpec spec = SpecReader.Parse(Whole, "spec.yaml", "/data");
        spec.ShouldSatisfyAllConditions(
            s => s.Name.ShouldBe("real-mini"), s => s.Tags.ShouldBe(["nightly"]), s => s.Objectives.ShouldBe(["helpful", "verbosity"]),
            s => s.Backbone.ShouldBe(new BackboneSpec("backbone/", "bf16", 1024)),
            s => s.Ratings[0].Files.ShouldBe(["a.jsonl.gz", "b/*.parquet"]), s => s.Ratings[0].Ignore.ShouldBe(["x"]),
                s => s.Ratings[1].Columns.ShouldBe([new ColumnSpec("helpful", "stars", 1, 5)]),
                s => s.Preferences[0].Format.ShouldBe("pairs"), s => s.Benchmark!.Sections!["All"]["s"].ShouldBe(2),
                    s => s.Regression.Alphas.ShouldBe([0.01, 1, 100]),
                    s => s.Decorrelation.ShouldBe(new DecorrelationSpec
                    {
                        Verbosity = "verbosity",
                        Reference = "pairs",
                        Metric = "pearson"
                    }),
                        s => s.Gating.Hidden.ShouldBe([8, 9]), s => s.Gating.LearningRate.ShouldBe(1e-3), s => s.Gating.Seed.ShouldBe(10),
                        s => s.Evaluation.Baselines.ShouldBe(["mean"]),
                            s => (s.Promotion!.MinimumScore, s.Promotion.SectionLoss, s.Promotion.MinimumHeldOut,
                                s.Promotion.Objectives["helpful"]).ShouldBe((0.8, 0.02, null, 0.1)),
                            s => s.Promotion!.Automatic.ShouldBe("champion"),
                            s => s.Retrain.ShouldBe(new RetrainSpec { NewRows = 50, AtMostEveryHours = 6 }));
    }

    [Fact]
    public void Defaults_are_the_paper_s()
    {
        RunSpec spec =
            SpecReader.Parse("{ backbone: { path: b }, ratings: [{ name: r, files: [r] }], preferences: [{ name: p, files: [p] }] }",
                "spec.yaml", "/data/project");
        spec.Name.ShouldBe("project");
        spec.Objectives.ShouldBeEmpty();
        (spec.Gating.Steps, spec.Gating.BatchSize, spec.Gating.LearningRate, spec.Gating.Beta, spec.Gating.Temperature).ShouldBe((10_000,
            1024, 1e-3, 100, 1));
        spec.Gating.Hidden.ShouldBe([1024, 1024, 1024]);
        spec.Decorrelation.Metric.ShouldBe("spearman");
        spec.Evaluation.Baselines.ShouldBe(["bradley-terry", "mean"]);
        spec.Benchmark.ShouldBeNull();
        (spec.Ratings[0].MaxDroppedShare, spec.Preferences[0].MaxDroppedShare).ShouldBe((0, 0.01));
    }

    [Theory]
    [InlineData("name: real-mini", "nmae: x", 1, "unknown key 'nmae'", "Did you mean 'name'?")]
    [InlineData("preferences:", "preferances:", 11, "unknown key 'preferances'", "Did you mean 'preferences'?")]
    [InlineData("batchSize: 6", "batchSise: 6", 16, "unknown key 'gating.batchSise'", "Did you mean 'batchSize'?")]
    [InlineData("verbosity: verbosity", "verbosity: verbositi", 15, "'verbositi' is not among 'objectives'", "Did you mean 'verbosity'?")]
    [InlineData("reference: pairs", "reference: pears", 15, "reference 'pears'", "Did you mean 'pairs'?")]
    [InlineData("metric: pearson", "metric: kendall", 15, "kendall", "spearman, pearson")]
    [InlineData("dtype: bf16", "dtype: f8", 4, "f8", "auto, f32, bf16")]
    [InlineData("steps: 5", "steps: 0", 16, "gating.steps: 0", "at least 1")]
    [InlineData("steps: 5", "steps: 2.5", 16, "gating.steps: 2.5", "a whole number")]
    [InlineData("learningRate: 1e-3", "learningRate: fast", 16, "fast", "a number")]
    [InlineData("beta: 7", "beta: 0", 16, "gating.beta: 0", "more than 0")]
    [InlineData("alphas: [0.01, 1, 1e2]", "alphas: [-1]", 14, "'-1'", "at least 0")]
    [InlineData("alphas: [0.01, 1, 1e2]", "alphas: 1", 14, "'regression.alphas'", "a list")]
    [InlineData("baselines: [mean]", "baselines: [median]", 17, "median", "Did you mean 'mean'?")]
    [InlineData("files: [p.jsonl]", "files: ['dataset:pairs@latest']", 12, "'dataset:pairs@latest'", "dataset:NAME@VERSION")]
    [InlineData("files: [p.jsonl]", "files: ['dataset:../pairs']", 12, "'dataset:../pairs'", "dataset:NAME")]
    [InlineData("minimumScore: 0.8", "minimumScore: 80", 18, "promotion.minimumScore: 80", "at most 1")]
    [InlineData("automatic: champion", "automatic: v2", 18, "'v2'", "no version number")]
    [InlineData("minimumScore: 0.8", "approvals: 2", 18, "'automatic' beside 'approvals'", "one of them")]
    [InlineData("objectives: { helpful: 0.1 }", "objectives: { helpfull: 0.1 }", 18, "'helpfull' is not in this spec",
        "Did you mean 'helpful'?")]
    [InlineData("newRows: 50", "newrows: 50", 19, "unknown key 'retrain.newrows'", "Did you mean 'newRows'?")]
    [InlineData("columns: { helpful:", "columns: { helpfull:", 0, "'helpfull' is not in this spec", "Did you mean 'helpful'?")]
    [InlineData("min: 1, max: 5", "min: 5, max: 1", 10, "max 1 under min 5", "max above min")]
    [InlineData("name: stars", "name: judge", 0, "two sources named 'judge'", "Rename")]
    [InlineData("objectives: [helpful, verbosity]", "objectives: [helpful, helpful, verbosity]", 0, "'helpful' twice", "Remove")]
    [InlineData("  - { name: pairs, files: [p.jsonl] }", "", 0, "no source under 'preferences'", "at least one")]
    [InlineData("files: [p.jsonl]", "files: []", 0, "no 'files'", "a list of paths")]
    [InlineData("name: pairs, ", "", 12, "no key 'preferences[0].name'", "Add 'name'")]
    [InlineData("seed: 10", "seed: -1", 16, "gating.seed: -1", "at least 0")]
    [InlineData("hidden: [8, 9]", "hidden: [8.5]", 16, "8.5", "whole numbers")]
    [InlineData("backbone: { path: backbone/, dtype: bf16, maxTokens: 1024 }", "backbone: here", 4, "'here'", "a mapping")]
    [InlineData("tags: [nightly]", "tags: [nightly", 19, "not YAML", "Close the bracket")]
    public void A_wrong_spec_is_refused_with_line_and_remedy(string right, string wrong, int line, params string[] expected)
    {
        Whole.ShouldContain(right);
        string message = Should.Throw<SpecException>(() => SpecReader.Parse(Whole.Replace(right, wrong, StringComparison.Ordinal),
            "spec.yaml", "/data")).Message;
        message.ShouldStartWith(line > 0 ? $"spec.yaml line {line}:" : "spec.yaml line ");
        foreach (string part in expected) message.ShouldContain(part);
    }

    [Fact]
    public void Json_is_read_too_and_an_empty_or_missing_file_is_refused()
    {
        SpecReader.Parse("""{"backbone":{"path":"b"},"ratings":[{"name":"r","files":["r"]}],"preferences":[{"name":"p","files":["p"]}]}""",
            "spec", "/d").Backbone.Path
            .ShouldBe("b");
        Should.Throw<SpecException>(() => SpecReader.Parse("", "spec.yaml", "/d")).Message.ShouldContain("empty");
        Should.Throw<SpecException>(() => SpecReader.Load("/nowhere/spec.yaml")).Message.ShouldContain("no such file");
    }

    [Fact]
    public void A_spec_that_is_too_large_is_refused_and_told_how_to_name_many_files()
    {
        string files = string.Join(", ", Enumerable.Range(0, SpecReader.MostBytes / 8).Select(i => $"f{i:D6}.jsonl"));
        string tooLong = Whole.Replace("a.jsonl.gz", files, StringComparison.Ordinal);
        Should.Throw<SpecException>(() => SpecReader.Parse(tooLong, "spec.yaml", "/data")).Message
            .ShouldSatisfyAllConditions(m => m.ShouldStartWith("spec.yaml: a spec of "),
            m => m.ShouldContain($"at most {SpecReader.MostBytes:N0}"),
            m => m.ShouldContain("dataset:NAME"));
        string file = Path.GetTempFileName();
        File.WriteAllText(file, tooLong);
        Should.Throw<SpecException>(() => SpecReader.Load(file)).Message.ShouldContain("a spec of ");
        File.Delete(file);
    }

    [Fact]
    public void Aliases_that_stand_for_more_than_a_spec_may_hold_are_refused()
    {
        string items = string.Join(", ", Enumerable.Repeat("a.jsonl", 2000));
        string sources = string.Join("\n", Enumerable.Range(0, 1000).Select(i => $"  - {{ name: s{i}, files: *all }}"));
        string yaml = $"backbone: {{ path: b }}\ntags: &all [{items}]\nratings:\n{sources}\n";
        Should.Throw<SpecException>(() => SpecReader.Parse(yaml, "spec.yaml", "/data")).Message.ShouldContain("values");
    }

    [Theory]
    [InlineData('a', 1000, "characters with its aliases written out")]
    [InlineData('\'', 8, "bytes in the database")] // stored as \u0027
    public void A_short_text_that_is_stored_as_a_long_one_is_refused(char letter, int uses, string expected)
    {
        string name = new(letter, 100_000), quoted = $"\"{name}\"";
        string files = string.Join(", ", Enumerable.Repeat("*long", uses - 1).Prepend($"&long {quoted}"));
        string yaml = Whole.Replace("a.jsonl.gz", files, StringComparison.Ordinal);
        Should.Throw<SpecException>(() => SpecReader.Parse(yaml, "spec.yaml", "/data")).Message
            .ShouldSatisfyAllConditions(m => m.ShouldContain(expected),
            m => m.ShouldContain($"{SpecReader.MostStoredBytes:N0}"),
            m => m.ShouldContain("dataset:NAME"));
    }

    [Fact]
    public void The_digest_follows_the_spec_and_its_folder()
    {
        string Digest(string text, string folder) => SpecReader.Digest(SpecReader.Parse(text, "spec.yaml", folder));
        Digest(Whole, "/a").ShouldBe(Digest(Whole, "/a"));
        Digest(Whole, "/b").ShouldNotBe(Digest(Whole, "/a"));
        Digest(Whole.Replace("seed: 10", "seed: 11", StringComparison.Ordinal), "/a").ShouldNotBe(Digest(Whole, "/a"));
    }
}
