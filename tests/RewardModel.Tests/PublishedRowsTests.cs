using ArmoFlow.RewardModel.Ingestion;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Rows as data sets are published, which are read right or refused by name: nothing is guessed.</summary>
public class PublishedRowsTests
{
    [Theory]
    [InlineData("shp", """{"history":"P","human_ref_A":"a","human_ref_B":"b","labels":1}""", "u:P | a:a > b")]
    [InlineData("shp", """{"history":"P","human_ref_A":"a","human_ref_B":"b","labels":"0"}""", "u:P | a:b > a")]
    [InlineData("pku-saferlhf", """{"prompt":"P","response_0":"a","response_1":"b","better_response_id":0}""", "u:P | a:a > b")]
    [InlineData("pku-saferlhf", """{"prompt":"P","response_0":"a","response_1":"b","better_response_id":1}""", "u:P | a:b > a")]
    [InlineData("prometheus2", """{"orig_instruction":"P","orig_response_A":"a","orig_response_B":"b","orig_preference":"A"}""",
        "u:P | a:a > b")]
    [InlineData("prometheus2", """{"orig_instruction":"P","orig_response_A":"a","orig_response_B":"b","orig_preference":"B"}""",
        "u:P | a:b > a")]
    public async Task Each_of_the_two_labels_means_its_answer(string format, string row, string expected)
    {
        using SourceFile file = new("t.jsonl", row);
        SourceFile.Texts(await file.Pairs(format)).ShouldBe(expected);
    }

    public static TheoryData<string, string, string> OtherLabels
    {
        get
        {
            TheoryData<string, string, string> data = [];
            foreach (string label in new[] { "-1", "null", "2", "0.5", "true", "\"\"", "\"tie\"", "[1]", "{}", "1e400", "NaN" })
            {
                data.Add("shp", $$"""{"history":"P","human_ref_A":"a","human_ref_B":"b","labels":{{label}}}""", "column 'labels'");
                data.Add("pku-saferlhf", $$"""{"prompt":"P","response_0":"a","response_1":"b","better_response_id":{{label}}}""",
                    "column 'better_response_id'");
            }
            foreach (string label in new[] { "\"TIE\"", "\"a\"", "\"\"", "\"b\"", "\" A\"", "null", "0", "true", "[\"A\"]" })
            {
                data.Add("prometheus2",
                    $$"""{"orig_instruction":"P","orig_response_A":"a","orig_response_B":"b","orig_preference":{{label}}}""",
                    "column 'orig_preference'");
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(OtherLabels))]
    public async Task Any_other_label_is_refused_with_line_and_column(string format, string row, string column)
    {
        using SourceFile file = new("t.jsonl", row) { MaxDroppedShare = 1 };
        await SourceFile.Refused(() => file.Pairs(format), "t.jsonl line 1", column, "; expected ");
    }

    [Fact]
    public async Task A_trajectory_goes_on_with_the_completion_that_was_chosen_and_over_neutral_steps()
    {
        using SourceFile file = new("t.jsonl",
            """{"question":{"problem":"P"},"label":{"steps":[{"completions":[{"text":"n","rating":0}],"chosen_completion":0},"""
                + """{"completions":[{"text":"g","rating":1}],"chosen_completion":0},{"completions":[{"text":"b","rating":-1},"""
                + """{"text":"G","rating":1},{"text":"B","rating":-1}],"chosen_completion":null}]}}""",
            """{"question":{"problem":"Q"},"label":{"steps":[{"completions":[{"text":"first","rating":1},"""
                + """{"text":"chosen","rating":1}],"chosen_completion":1},{"completions":[{"text":"b","rating":-1},"""
                + """{"text":"g","rating":1}],"chosen_completion":null}]}}""",
            """{"question":{"problem":"R"},"label":{"steps":[{"completions":["""
                + """{"text":"x","rating":-1}],"human_completion":{"text":"mine","rating":1},"chosen_completion":null},"""
                + """{"completions":[{"text":"b","rating":-1},{"text":"g","rating":1}],"chosen_completion":1}]}}""",
            """{"question":{"problem":"S"},"label":{"steps":[{"completions":null,"human_completion":null,"chosen_completion":null}]}}""");
        SourceFile.Texts(await file.Pairs("prm-phase-2")).ShouldBe("""
            u:P | a:n
            g
            G > n
            g
            b
            u:P | a:n
            g
            G > n
            g
            B
            u:Q | a:chosen
            g > chosen
            b
            u:R | a:mine
            g > mine
            b
            """);
        (file.Report.RowsRead, file.Report.Kept, file.Report.RowsWithoutItems).ShouldBe((4, 4, 1));
    }

    [Theory]
    [InlineData("""{"completions":[{"text":"x","rating":2}],"chosen_completion":0}""", "step 1 column 'rating': 2; expected -1, 0 or 1")]
    [InlineData("""{"completions":[{"text":"x","rating":1}],"chosen_completion":1}""",
        "step 1 column 'chosen_completion': 1; expected null, or the place of one of 1")]
    [InlineData("""{"completions":"x","chosen_completion":1}""", "step 1 column 'completions': a JSON String; expected a list")]
    [InlineData("""7""", "step 1: a JSON Number; expected an object with a field 'completions'")]
    public async Task A_trajectory_with_a_defect_is_refused(string step, string expected)
    {
        using SourceFile file =
            new("t.jsonl", """{"question":{"problem":"P"},"label":{"steps":[STEP]}}""".Replace("STEP", step, StringComparison.Ordinal));
        await SourceFile.Refused(() => file.Pairs("prm-phase-2"), expected);
    }

    [Theory]
    [InlineData("one\\n<extra_id_1>Assistant\\ntwo\\n\\nand\\n<extra_id_1>User\\nthree", "u:one | a:two\n\nand | u:three | a:R")]
    [InlineData("one", "u:one | a:R")]
    [InlineData("<extra_id_0>System\\nbe kind\\n<extra_id_1>User\\none\\n<extra_id_1>Assistant\\n", "s:be kind | u:one | a:R")]
    [InlineData("<extra_id_1>User\\none", "u:one | a:R")]
    [InlineData("what is <extra_id_1>User in T5?", "u:what is <extra_id_1>User in T5? | a:R")]
    public async Task Helpsteer_turns_in_one_text_become_turns(string prompt, string expected)
    {
        using SourceFile file = new("t.jsonl", HelpSteer(prompt));
        SourceFile.Text((await file.Ratings("helpsteer")).Single().Conversation).ShouldBe(expected);
    }

    [Theory]
    [InlineData("one\\n<extra_id_1>Human\\ntwo", "a turn of 'Human'")]
    [InlineData("one\\n<extra_id_1>Assistant\\ntwo", "a last turn by the assistant")]
    public async Task Helpsteer_turns_of_nobody_are_refused(string prompt, string expected)
    {
        using SourceFile file = new("t.jsonl", HelpSteer(prompt));
        await SourceFile.Refused(() => file.Ratings("helpsteer"), "t.jsonl line 1 column 'prompt'", expected);
    }

    private static string HelpSteer(string prompt) =>
        $$"""{"prompt":"{{prompt}}","response":"R","helpfulness":1,"correctness":"2","coherence":3,"complexity":4,"verbosity":null}""";

    [Fact]
    public async Task One_empty_completion_of_four_goes_and_the_others_stay()
    {
        string row =
            """{"instruction":"P","completions":[{"response":"a","overall_score":10},{"response":" ","overall_score":1},"""
                + """{"response":"b","overall_score":"1"},{"response":"c","overall_score":5.5}]}""";
        using SourceFile file = new("t.jsonl", row) { MaxDroppedShare = 0.25 };
        SourceFile.Ratings(await file.Ratings("ultrafeedback"))
            .ShouldBe("a: ultrafeedback-overall-score=1; b: ultrafeedback-overall-score=0; c: ultrafeedback-overall-score=0.5");
        file.Report.Dropped.ShouldBe(new Dictionary<string, long> { ["empty response"] = 1 });
        file.Report.DroppedRows.Single().ShouldBe("t.jsonl line 1 completion 2: empty response");
        using SourceFile pairs = new("t.jsonl", row) { MaxDroppedShare = 0.4 };
        SourceFile.Texts(await pairs.Pairs("ultrafeedback")).ShouldBe("u:P | a:a > b\nu:P | a:a > c");
        using SourceFile strict = new("t.jsonl", row) { MaxDroppedShare = 0.2 };
        await SourceFile.Refused(() => strict.Ratings("ultrafeedback"), "t.jsonl line 1 completion 2", "1 such rows of 4",
            "maxDroppedShare");
        using SourceFile none = new("t.jsonl", row);
        await SourceFile.Refused(() => none.Ratings("ultrafeedback"), "t.jsonl line 1 completion 2: an empty response");
    }

    [Theory]
    [InlineData("argilla-openorca", """{"system":"","input":"P","generations":["","b"],"rating":[1,10]}""", "b: argilla-judge-lm=1")]
    [InlineData("argilla-math",
        """{"instruction":"P","chosen_response":"a","rejected_response":"","chosen_rating":5,"rejected_rating":1}""",
        "a: ultrafeedback-instruction-following=1")]
    [InlineData("argilla-capybara",
        """{"chosen":[{"role":"user","content":"P"},{"role":"assistant","content":""}],"rejected":[{"role":"user","content":"P"},"""
            + """{"role":"assistant","content":"b"}],"rating_chosen":5,"rating_rejected":1}""",
        "b: argilla-overall-quality=0")]
    [InlineData("code-ultrafeedback",
        """{"instruction":"P","preference":"style","responses":[{"model":"m","response":""},"""
            + """{"model":"n","response":"b"}],"annotations":[{"model":"m","rating":"1"},{"model":"n","rating":"5"}]}""",
        "b: code-style=1")]
    public async Task An_empty_response_takes_no_other_with_it_in_any_format(string format, string row, string expected)
    {
        using SourceFile file = new("t.jsonl", row) { MaxDroppedShare = 0.5 };
        SourceFile.Ratings(await file.Ratings(format)).ShouldBe(expected);
        file.Report.Dropped.Values.Sum().ShouldBe(1);
    }

    [Theory]
    [InlineData("ultrafeedback", """{"instruction":"P","completions":null}""", "column 'completions': null; expected a list")]
    [InlineData("ultrafeedback", """{"instruction":"P","completions":[7]}""", "completion 1: a JSON Number; expected an object")]
    [InlineData("ultrafeedback", """{"instruction":"P","completions":[{"response":"a","overall_score":5,"annotations":"none"}]}""",
        "column 'annotations': a JSON String; expected an object, or null")]
    [InlineData("argilla-openorca", """{"system":"","input":"P","generations":null,"rating":[1]}""",
        "column 'generations': null; expected a list")]
    [InlineData("argilla-openorca", """{"system":"","input":"P","generations":["a"],"rating":1}""",
        "column 'rating': a JSON Number; expected a list")]
    [InlineData("code-ultrafeedback", """{"instruction":"P","preference":"style","responses":null,"annotations":[]}""",
        "column 'responses': null; expected a list")]
    [InlineData("code-ultrafeedback",
        """{"instruction":"P","preference":"style","responses":[{"model":"m","response":"a"}],"annotations":[{"model":"m","rating":"1"},"""
            + """{"model":"m","rating":"5"}]}""",
        "column 'annotations': the model 'm' twice")]
    public async Task A_list_that_is_none_is_named(string format, string row, string expected)
    {
        using SourceFile file = new("t.jsonl", row) { MaxDroppedShare = 1 };
        await SourceFile.Refused(() => file.Ratings(format), "t.jsonl line 1", expected);
    }

    [Fact]
    public async Task A_null_rating_is_no_rating_and_is_counted()
    {
        using SourceFile file = new("t.jsonl",
            """{"system":null,"input":"P","generations":["a","b"],"rating":null}""",
            """{"system":"S","input":"P","generations":["a","b"],"rating":[10,null]}""");
        SourceFile.Ratings(await file.Ratings("argilla-openorca")).ShouldBe("a: ; b: ; a: argilla-judge-lm=1; b: ");
        (file.Report.Kept, file.Report.Unrated).ShouldBe((4, 3));
    }

    [Theory]
    [InlineData("readability", "code-readability")]
    [InlineData("complexity", "code-complexity")]
    [InlineData("style", "code-style")]
    [InlineData("explanation", "code-explanation")]
    [InlineData("instruction-following", "code-instruction-following")]
    public async Task The_published_coding_preferences_are_the_papers_objectives(string preference, string objective)
    {
        using SourceFile file = new("t.jsonl",
            $$"""{"instruction":"P","preference":"{{preference}}","responses":[{"model":"m","response":"a"},"""
                + $$"""{"model":"n","response":"b"}],"annotations":[{"model":"m","rating":"5"}]}""");
        SourceFile.Ratings(await file.Ratings("code-ultrafeedback")).ShouldBe($"a: {objective}=1; b: ");
        file.Report.Unrated.ShouldBe(1);
    }

    [Fact]
    public async Task The_hubs_column_names_are_the_papers_objectives_and_a_spec_may_use_either()
    {
        string row =
            """{"messages":[{"role":"user","content":"P"},"""
                + """{"role":"assistant","content":"a"}],"ultrafeedback-overall_score":0.25,"beavertails-is_safe":1,"""
                + """ "argilla-judge_lm":"0.5","helpsteer-verbosity":null}""";
        using SourceFile file = new("t.jsonl", row);
        SourceFile.Ratings(await file.Ratings("armorm-ratings"))
            .ShouldBe("a: ultrafeedback-overall-score=0.25, beavertails-is-safe=1, argilla-judge-lm=0.5");
        using SourceFile hub = new("t.jsonl", row);
        SourceFile.Ratings(await hub.Ratings("armorm-ratings", "ultrafeedback-overall_score", "beavertails-is-safe", "argilla-judge_lm"))
            .ShouldBe("a: ultrafeedback-overall_score=0.25, beavertails-is-safe=1, argilla-judge_lm=0.5");
        using SourceFile named = new("t.jsonl", """{"prompt":"P","response":"a","is_safe":true}""");
        SourceFile.Ratings(await named.Ratings("beavertails", "beavertails-is_safe")).ShouldBe("a: beavertails-is_safe=1");
        using SourceFile both = new("t.jsonl", row.Replace("\"argilla-judge_lm\"", "\"beavertails-is-safe\"", StringComparison.Ordinal));
        await SourceFile.Refused(() => both.Ratings("armorm-ratings"), "the columns 'beavertails-is_safe' and 'beavertails-is-safe'");
        await SourceFile.Refused(() => both.Ratings("armorm-ratings", "beavertails-is_safe", "beavertails-is-safe"), "each objective once");
        RatedFormats.PaperObjectives.Select(RatedFormats.ReleasedName).ShouldBe(RatedFormats.ReleasedObjectives);
        RatedFormats.ReleasedObjectives.Select(RatedFormats.OurName).ShouldBe(RatedFormats.PaperObjectives);
    }

    [Theory]
    [InlineData("\"4\"", 0.75)]
    [InlineData("4.0", 0.75)]
    [InlineData("\" 4 \"", 0.75)]
    [InlineData("\"N/A\"", null)]
    [InlineData("\"\"", null)]
    [InlineData("null", null)]
    public async Task A_rating_is_read_by_one_rule_whatever_its_range(string rating, double? expected)
    {
        foreach (Scale scale in new[] { new Scale(1, 5), new Scale(0, 1) })
        {
            string given = scale.Max == 1
                ? rating.Replace("4.0", "0.75", StringComparison.Ordinal).Replace("4", "0.75", StringComparison.Ordinal)
                : rating;
            using SourceFile file = new("t.jsonl", $$"""{"prompt":"P","response":"a","h":{{given}}}""");
            RatedResponse row = (await file.Ratings(RatedFormats.Find("columns", ["q"], [new RatedColumn("q", "h", scale)], []))).Single();
            (row.Ratings.TryGetValue("q", out double value) ? value : (double?)null).ShouldBe(expected, $"{given} of {scale}");
        }
    }

    [Theory]
    [InlineData("\"4,5\"", "the text '4,5'")]
    [InlineData("\"good\"", "the text 'good'")]
    [InlineData("\"NaN\"", "the text 'NaN'")]
    [InlineData("NaN", "NaN")]
    [InlineData("-Infinity", "-Infinity")]
    [InlineData("1e999", "1e999")]
    [InlineData("[4]", "a JSON Array")]
    [InlineData("6", "a rating from 1 to 5")]
    public async Task What_is_no_rating_is_refused_with_its_column(string rating, string expected)
    {
        using SourceFile file = new("t.jsonl", $$"""{"prompt":"P","response":"a","h":{{rating}}}""");
        RatedFormat format = RatedFormats.Find("columns", ["q"], [new RatedColumn("q", "h", new Scale(1, 5))], []);
        await SourceFile.Refused(() => file.Ratings(format), "t.jsonl line 1 column 'h'", expected);
    }

    [Fact]
    public async Task A_rating_as_text_under_a_misspelt_name_does_not_vanish_and_other_texts_may_be_numbers()
    {
        const string Row =
            """{"messages":[{"role":"user","content":"P"},"""
                + """{"role":"assistant","content":"a"}],"helpfulness":"0.5","id":"17","NAME":"0.25"}""";
        using SourceFile sound = new("t.jsonl", Row.Replace("NAME", "row", StringComparison.Ordinal));
        SourceFile.Ratings(await sound.Ratings("armorm-ratings", "helpfulness", "verbosity")).ShouldBe("a: helpfulness=0.5");
        using SourceFile misspelt = new("t.jsonl", Row.Replace("NAME", "verbositty", StringComparison.Ordinal));
        await SourceFile.Refused(() => misspelt.Ratings("armorm-ratings", "helpfulness", "verbosity"),
            "objective 'verbositty' is not in this spec", "'verbosity'");
    }

    private const string Side = """[{"role":"assistant","content":"SIDE"}]""", User = """{"role":"user","content":"P"}""";
    private const string Whole = """[{"role":"user","content":"P"},{"role":"assistant","content":"SIDE"}]""";
    private const string Turns = """[{"role":"user","content":"p"},{"role":"assistant","content":"q"},{"role":"user","content":"P"}]""";

    [Theory]
    [InlineData("\"P\"", "\"SIDE\"", "u:P | a:")] // texts
    [InlineData("\"P\"", Side, "u:P | a:")]
    [InlineData("\"something else\"", Whole, "u:P | a:")] // whole conversations, and a prompt that is not looked at
    [InlineData("[" + User + "]", Side, "u:P | a:")] // TRL's and OpenRLHF's explicit prompts
    [InlineData("[" + User + "]", Whole, "u:P | a:")]
    [InlineData("[" + User + "]", "\"SIDE\"", "u:P | a:")] // RewardBench's Prior Sets
    [InlineData(Turns, "\"SIDE\"", "u:p | a:q | u:P | a:")]
    [InlineData(Turns, Side, "u:p | a:q | u:P | a:")]
    [InlineData("""[{"role":"system","content":"S"}]""", Whole, "s:S | u:P | a:")]
    [InlineData("null", Whole, "u:P | a:")]
    [InlineData("[]", Whole, "u:P | a:")]
    public async Task A_prompt_and_its_sides_may_each_be_a_text_or_messages(string prompt, string side, string expected)
    {
        string good = side.Replace("SIDE", "good", StringComparison.Ordinal), bad = side.Replace("SIDE", "bad", StringComparison.Ordinal);
        string row = $$"""{"id":1,"subset":"s","prompt":{{prompt}},"chosen":{{good}},"rejected":{{bad}}}""";
        using SourceFile file = new("t.jsonl", row);
        SourceFile.Texts(await file.Pairs("pairs")).ShouldBe($"{expected}good > bad");
        using SourceFile benchmark = new("t.jsonl", row);
        SourceFile.Text((await benchmark.Benchmark()).Single().Chosen).ShouldBe($"{expected}good");
        using SourceFile rated = new("t.jsonl", row.Replace("\"chosen\"", "\"response\"", StringComparison.Ordinal));
        SourceFile.Text((await rated.Ratings(RatedFormats.Find("columns", [], [], []))).Single().Conversation).ShouldBe($"{expected}good");
    }

    [Theory]
    [InlineData("[" + User + "]", """[{"role":"user","content":"another"},{"role":"assistant","content":"a"}]""",
        "after a prompt that ends with the user's")]
    [InlineData("""[{"role":"user","content":"P"},{"role":"assistant","content":"x"}]""", "\"a\"", "turns that begin with the assistant's")]
    [InlineData("7", "\"a\"", "column 'prompt': a JSON Number; expected text, or a list of messages")]
    [InlineData("\"P\"", """["a","b"]""", "column 'chosen': a list of texts")]
    [InlineData("\"P\"", """[7]""", "a JSON Number in a list of messages")]
    [InlineData("[]", Side, "without a prompt")]
    public async Task A_prompt_and_a_side_that_make_no_conversation_are_refused(string prompt, string side, string expected)
    {
        using SourceFile file =
            new("t.jsonl", $$"""{"id":1,"subset":"s","prompt":{{prompt}},"chosen":{{side}},"rejected":"b"}""") { MaxDroppedShare = 1 };
        await SourceFile.Refused(() => file.Pairs("pairs"), "t.jsonl line 1", expected);
        await SourceFile.Refused(file.Benchmark, "t.jsonl line 1", expected);
    }

    [Theory]
    [InlineData("pairs", """{"system":"S","prompt":"P","chosen":"a","rejected":"b"}""", "s:S | u:P | a:a > b")]
    [InlineData("pairs", """{"system":" ","prompt":"P","chosen":"a","rejected":"b"}""", "u:P | a:a > b")]
    [InlineData("hh-rlhf", """{"chosen":"\r\n\r\nHuman: P\r\n\r\nAssistant: a","rejected":"\n\nHuman: P\n\nAssistant: b"}""",
        "u:P | a:a > b")]
    [InlineData("argilla-math",
        """{"instruction":"P","chosen_response":"a","rejected_response":"b","chosen_rating":5,"rejected_rating":3}""",
        "u:P | a:a > b")]
    public async Task What_stands_beside_the_two_answers_counts(string format, string row, string expected)
    {
        using SourceFile file = new("t.jsonl", row);
        PreferencePair pair = (await file.Pairs(format)).Single();
        $"{SourceFile.Text(pair.Chosen)} > {pair.Rejected.Messages[^1].Content.Trim()}".ShouldBe(expected);
    }

    [Theory]
    [InlineData("pairs", """{"prompt":"P","chosen":"\n\nHuman: P\n\nAssistant: a","rejected":"b"}""", "a transcript")]
    [InlineData("pairs", """{"prompt":"\n\nHuman: P\n\nAssistant:","chosen":"a","rejected":"b"}""", "column 'prompt'", "a transcript")]
    [InlineData("pairs", """{"prompt":"P","chosen":"[{\"role\": \"user\"}]","rejected":"b"}""",
        "a list of messages that is written as a text")]
    [InlineData("pairs", """{"prompt":"P","chosen":"a","chosen":"c","rejected":"b"}""", "a field that stands twice")]
    [InlineData("argilla-math",
        """{"instruction":"P","chosen_response":"a","rejected_response":"b","chosen_rating":1,"rejected_rating":5}""",
        "rated 1", "rated 5")]
    public async Task A_row_that_would_be_read_as_something_else_is_refused(string format, string row, params string[] expected)
    {
        using SourceFile file = new("t.jsonl", row);
        await SourceFile.Refused(() => file.Pairs(format), ["t.jsonl line 1", .. expected]);
    }

    [Fact]
    public async Task A_text_that_only_looks_like_messages_is_a_turn_and_unusable_rows_are_left_out_within_their_share()
    {
        using SourceFile file = new("t.jsonl",
            """{"prompt":"[{\"role\": \"user\"}] is JSON: why?","chosen":"a","rejected":"b"}""",
            """{"prompt":"P","chosen":"\n\nHuman: P\n\nAssistant: a","rejected":"b"}""")
        { MaxDroppedShare = 0.5 };
        SourceFile.Texts(await file.Pairs("pairs")).ShouldBe("u:[{\"role\": \"user\"}] is JSON: why? | a:a > b");
        file.Report.Dropped.ShouldContainKeyAndValue("a transcript as one turn", 1);
    }

    [Fact]
    public async Task Responses_are_compared_on_one_objective()
    {
        using SourceFile file = new("t.jsonl",
            """{"instruction":"P","completions":[{"response":"a","overall_score":null,"annotations":{"honesty":{"Rating":"5"}}},"""
                + """{"response":"b","overall_score":5},{"response":"c","overall_score":4}]}""",
            """{"instruction":"P","completions":[{"response":"a","overall_score":5},{"response":"b","overall_score":5}]}""");
        SourceFile.Texts(await file.Pairs("ultrafeedback")).ShouldBe("u:P | a:b > c");
        file.Report.RowsWithoutItems.ShouldBe(1);
    }

    [Fact]
    public void What_a_message_shows_of_a_file_is_bounded_at_its_source()
    {
        string cell = new('x', 3 << 20), pairs = string.Concat(Enumerable.Repeat("\U0001F600", 1000));
        string message = new InvalidInputException(cell, $"the text '{cell}'", cell, cell) { StrayRow = null }.Message;
        message.Length.ShouldBeLessThan(5_000);
        message.ShouldContain("(3,145,739 characters)");
        new InvalidInputException("p", pairs, "e", "r").Message.ShouldNotContain("\ufffd");
        new InvalidInputException("p", "y" + pairs, "e", "r").Message.EnumerateRunes().ShouldNotContain(System.Text.Rune.ReplacementChar);
        new InvalidInputException("p", "short", "e", "r").Message.ShouldBe("p: short; expected e. r");
    }
}
