using System.Text.Json;
using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.RewardModel.Text.Templates;
using Shouldly;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

public class BackboneTests
{
    [Fact]
    public void A_missing_shard_is_named()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        File.Delete(folder.File("model-00002-of-00002.safetensors"));
        Refused(() => new Checkpoint(folder.Path), "model-00002-of-00002.safetensors", "missing");
    }

    [Fact]
    public void A_tensor_of_the_wrong_shape_is_named_with_both_shapes()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path, config => config["intermediate_size"] = 64);
        using Checkpoint checkpoint = new(folder.Path);
        Refused(() => checkpoint.Require(Backbones.Config(folder.Path)), "[32, 16]", "[64, 16]",
            "config.json");
        Refused(() => Backbones.Load(folder.Path, ScalarType.Float32, CPU), "mlp.");
    }

    [Fact]
    public void A_missing_tensor_is_named()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path, config => config["num_hidden_layers"] = 3);
        Refused(() => Backbones.Load(folder.Path, ScalarType.Float32, CPU), "model.layers.2.");
    }

    [Theory]
    [InlineData(4, "header")]
    [InlineData(40, "header")]
    public void A_truncated_safetensors_header_is_told(int length, string expected)
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        string shard = folder.File("model-00001-of-00002.safetensors");
        File.WriteAllBytes(shard, File.ReadAllBytes(shard)[..length]);
        Refused(() => new Checkpoint(folder.Path), shard, expected);
    }

    [Fact]
    public void Data_cut_short_is_told_with_the_tensor()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        string shard = folder.File("model-00001-of-00002.safetensors");
        File.WriteAllBytes(shard, File.ReadAllBytes(shard)[..^10]);
        Refused(() => new Checkpoint(folder.Path), "not a whole safetensors file", "tensor");
    }

    [Theory]
    [InlineData("not a header at all, but as long as it says", "JSON")]
    [InlineData("""{"t":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}    """, "8")]
    [InlineData("""{"t":{"dtype":"F128","shape":[0],"data_offsets":[0,0]}}""", "F128")]
    public void A_header_that_does_not_describe_its_data_is_refused(string header, string expected)
    {
        using TemporaryFolder folder = new();
        File.WriteAllBytes(folder.File("x.safetensors"),
            [.. BitConverter.GetBytes((long)header.Length), .. System.Text.Encoding.UTF8.GetBytes(header), 1, 2, 3, 4]);
        Refused(() => new SafetensorsFile(folder.File("x.safetensors")), expected);
    }

    [Fact]
    public void Missing_files_are_named()
    {
        using TemporaryFolder folder = new();
        Refused(() => new SafetensorsFile(folder.File("none.safetensors")), "no such file");
        Refused(() => new Checkpoint(folder.Path), "no model.safetensors");
        Refused(() => Backbones.Config(folder.Path), "no such file");
        Refused(() => ChatTokenizer.Load(folder.File("tokenizer.json")), "no such file");
    }

    [Theory]
    [InlineData("model_type", "\"mixtral\"", "mixtral")]
    [InlineData("hidden_act", "\"gelu\"", "gelu")]
    [InlineData("attention_bias", "7", "attention_bias that is 7")]
    [InlineData("rope_scaling", """{"rope_type":"mrope","factor":2}""", "mrope")]
    [InlineData("num_key_value_heads", "3", "3 key-value heads")]
    [InlineData("hidden_size", "\"large\"", "hidden_size that is \"large\"")]
    public void An_architecture_we_do_not_compute_is_refused_by_name(string key, string value, string expected)
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path, config => config[key] = JsonNode.Parse(value));
        Refused(() => Backbones.Config(folder.Path), expected);
    }

    [Theory]
    [InlineData("type", "\"Unigram\"", "Unigram")]
    [InlineData("dropout", "0.1", "model.dropout 0.1")]
    [InlineData("merges", """["a b"]""", "the merge 'a b' into no token")]
    [InlineData("vocab", """{"日":0}""", "no token for the byte 0")]
    [InlineData("vocab", """{"a":0}""", "no token for the byte 0")]
    public void A_tokenizer_that_cannot_be_exact_is_refused_by_name(string key, string value, string expected)
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path, tokenizer: t => t["model"]![key] = JsonNode.Parse(value));
        Refused(() => ChatTokenizer.Load(folder.File("tokenizer.json")), expected);
    }

    [Fact]
    public void Other_parts_of_a_tokenizer_are_checked_too()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.File("a"), tokenizer: t => t["normalizer"] = JsonNode.Parse("""{"type":"NFKC"}"""));
        Refused(() => ChatTokenizer.Load(folder.File("a/tokenizer.json")), "NFKC");
        TinyCheckpoint.Write(folder.File("b"), tokenizer: t => t["pre_tokenizer"] = JsonNode.Parse("""{"type":"Whitespace"}"""));
        Refused(() => ChatTokenizer.Load(folder.File("b/tokenizer.json")), "Whitespace");
        TinyCheckpoint.Write(folder.File("c"), tokenizer: t => t["added_tokens"] = new JsonArray());
        Refused(() => ChatTokenizer.Load(folder.File("c/tokenizer.json")).RequireTemplateTokens(), "<|begin_of_text|>");
        folder.Write("d.json", "{");
        Refused(() => ChatTokenizer.Load(folder.File("d.json")), "not JSON");
    }

    [Fact]
    public void A_template_is_found_where_transformers_looks_for_it()
    {
        using TemporaryFolder folder = new();
        ChatTemplate.Open(folder.Path).Description.ShouldContain("no chat template");
        Refused(() => Config("""{"chat_template":"[INST] {{ content }} [/INST]"}"""), "no place for the response");
        Refused(() => Config("{"), "not JSON");
        Refused(() => Config("[]"), "no object");
        Refused(() => Config("""{"chat_template":7}"""), "number");

        string config = JsonSerializer.Serialize(new { chat_template = Llama3, bos_token = "<|begin_of_text|>" });
        Config(config).ShouldBe("Llama-3 template");
        Config(JsonSerializer.Serialize(new { chat_template = Llama3, bos_token = "<s>" })).ShouldContain("\"<s><|start_header_id|>");
        Config(Named(("tool_use", "x"), ("default", Llama3))).ShouldBe("Llama-3 template");
        Refused(() => Config(Named(("default", "x"))), "'default'");
        Refused(() => Config(Named(("rag", "x"))), "rag");

        // A file of its own comes before the configuration.
        folder.Write("chat_template.jinja", Llama3 + "{{ 'Be brief.' }}");
        Config(config).ShouldContain("Be brief.");
        Refused(() => Config("{}"), "writes bos_token, which no file names");
        folder.Write("chat_template.jinja", Llama3);
        Config("""{"chat_template":"x"}""").ShouldBe("Llama-3 template");

        string Config(string json)
        {
            folder.Write("tokenizer_config.json", json);
            return ChatTemplate.Open(folder.Path).Description;
        }

        static string Named(params (string Name, string Template)[] templates) => JsonSerializer.Serialize(
            new { chat_template = templates.Select(t => new { name = t.Name, template = t.Template }) });
    }

    private const string Llama3 =
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] "
            + "+ '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = "
            + "bos_token + content %}{% endif %}"
            + "{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

    [Theory]
    [InlineData("for message in loop_messages", "for message in loop_messages[-2:]")]
    [InlineData("message['content'] | trim", "message['content'] | trim | upper")]
    [InlineData("message['content'] | trim", "message['content']")]
    [InlineData("{{ content }}", "{% if message['role'] != 'system' %}{{ content }}{% endif %}")]
    public void A_template_that_does_anything_else_is_another(string from, string to)
    {
        using TemporaryFolder folder = new();
        WriteLlama3(folder, from, to);
        ChatTemplate found = ChatTemplate.Open(folder.Path);
        found.Name.ShouldStartWith("chat-template ");
        found.KeepsBlanks.ShouldBeTrue();
    }

    [Fact]
    public void A_template_that_leaves_the_response_out_is_refused()
    {
        using TemporaryFolder folder = new();
        WriteLlama3(folder, "{{ content }}", "{% if message['role'] == 'user' %}{{ content }}{% endif %}");
        Refused(() => ChatTemplate.Open(folder.Path), "no place for the response");
    }

    private static void WriteLlama3(TemporaryFolder folder, string from, string to)
    {
        Llama3.ShouldContain(from);
        folder.Write("chat_template.jinja", Llama3.Replace(from, to, StringComparison.Ordinal));
        folder.Write("tokenizer_config.json", """{"bos_token":"<|begin_of_text|>"}""");
    }

    [Theory]
    [InlineData("{% for message", "{% if (messages[0]['role'] == 'user') != true %}{{ raise_exception('No.') }}{% endif %}{% for message")]
    [InlineData("{% set content = bos_token + content %}", "{%- set content = bos_token + content -%}")]
    public void One_that_does_the_same_in_other_words_is_taken(string from, string to)
    {
        using TemporaryFolder folder = new();
        Llama3.ShouldContain(from);
        folder.Write("chat_template.jinja", Llama3.Replace(from, to, StringComparison.Ordinal));
        ChatTemplate.Open(folder.Path).Description.ShouldBe("Llama-3 template");
    }

    [Fact]
    public void All_published_templates_are_taken_and_Llama3s_alone_is_known_by_name()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer_config.json", """{"bos_token":"<|begin_of_text|>","eos_token":"</s>"}""");
        Dictionary<string, string> names = [];
        foreach (string path in Directory.EnumerateFiles(Path.Combine(SharedData.Require("families"), "templates"), "*.jinja"))
        {
            File.Copy(path, folder.File("chat_template.jinja"), overwrite: true);
            names[Path.GetFileNameWithoutExtension(path)] = ChatTemplate.Open(folder.Path).Name;
        }
        names.Count.ShouldBe(19);
        names.Where(name => name.Value == Llama3Template.KnownName).ShouldHaveSingleItem().Key.ShouldBe("llama-3");
        names.Values.Distinct().Count().ShouldBe(names.Count, "each has a key of its own");
        names["llama-3.2"].ShouldEndWith(" of 2024-07-26");
    }

    [Fact]
    public void A_date_in_a_template_is_the_specs()
    {
        using TemporaryFolder folder = new();
        folder.Write("tokenizer_config.json", """{"bos_token":"<|begin_of_text|>"}""");
        folder.Write("chat_template.jinja", Llama3 + "{{ strftime_now('%d %B %Y') }}");
        ChatTemplate usual = ChatTemplate.Open(folder.Path), later = ChatTemplate.Open(folder.Path, new DateOnly(2026, 3, 1));
        usual.Description.ShouldContain("26 July 2024");
        later.Description.ShouldContain("01 March 2026");
        later.Name.ShouldBe(usual.Name.Replace("2024-07-26", "2026-03-01", StringComparison.Ordinal));
        folder.Write("chat_template.jinja", Llama3 + "{% if messages[0]['role'] == 'system' %}{{ date_string }}{% endif %}");
        ChatTemplate.Open(folder.Path).Name.ShouldEndWith(" of 2024-07-26", Case.Sensitive, "a date that a system turn alone brings");
        folder.Write("chat_template.jinja", Llama3 + "{{ strftime_now('%Q') }}");
        Refused(() => ChatTemplate.Open(folder.Path), "'%Q'");
    }

    [Fact]
    public void The_prompt_position_is_the_end_of_turn_before_the_last_assistant_header()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        ChatTokenizer tokenizer = ChatTokenizer.Load(folder.File("tokenizer.json")).RequireTemplateTokens();
        EncodedConversation a = tokenizer.Encode(Conversation.Create("  Hi ", "one", "here")),
            b = tokenizer.Encode(Conversation.Create("Hi", " another answer", "here"));
        int endOfTurn = tokenizer.Encode(Llama3Template.EndOfTurn).Single();
        a.Tokens[a.PromptPosition].ShouldBe(endOfTurn);
        a.Tokens[^1].ShouldBe(endOfTurn);
        b.PromptPosition.ShouldBe(a.PromptPosition);
        a.PromptId.ShouldBe(b.PromptId);
        a.Id.ShouldNotBe(b.Id);
        a.Tokens.Take(a.PromptPosition + 1).ShouldBe(b.Tokens.Take(b.PromptPosition + 1));
        string text = Llama3Template.Render(Conversation.Create("Hi", "one", "here").Messages, first: true);
        text.ShouldBe("<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            + "<|start_header_id|>assistant<|end_header_id|>\n\none<|eot_id|>");
        tokenizer.Encode(text).ShouldBe(a.Tokens);
    }

    [Fact]
    public void The_prompt_feature_does_not_depend_on_the_response_and_batching_changes_nothing()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        ChatTokenizer tokenizer = ChatTokenizer.Load(folder.File("tokenizer.json"));
        EncodedConversation[] conversations = [.. Enumerable.Range(0, 40)
            .Select(i => tokenizer.Encode(Conversation.Create("the same prompt", new string('x', 1 + 7 * i % 90), "here")))];
        using FeatureExtractor extractor = new(folder.Path, ScalarType.Float32, CPU);
        int told = 0;
        ConversationFeatures[] together = extractor.Extract(conversations, done => told = done.Conversations);
        told.ShouldBe(40);
        for (int i = 0; i < conversations.Length; i++)
        {
            ConversationFeatures alone = extractor.Extract([conversations[i]])[0];
            Largest(alone.Embedding, together[i].Embedding).ShouldBeLessThan(1e-5);
            Largest(together[i].PromptEmbedding, together[0].PromptEmbedding).ShouldBeLessThan(1e-5);
        }
        IEnumerable<int> all = Enumerable.Range(0, conversations.Length);
        FeatureBatch[] batches = [.. FeatureBatch.Of(conversations, all, sharesPrompts: true, () => 100)];
        batches.SelectMany(batch => batch.Items).Select(item => item.Item).Order().ShouldBe(Enumerable.Range(0, 40));
        batches.Max(batch => batch.Tokens - batch.Texts[^1].Tokens.Length).ShouldBeLessThan(150);
        batches.Min(batch => batch.Tokens).ShouldBeGreaterThan(50, "what is left over is no batch by itself");
        int prompt = conversations[0].PromptPosition + 1;
        long computed = FeatureBatch.Of(conversations, all, sharesPrompts: true, () => 1 << 20).Single().Tokens;
        computed.ShouldBe(conversations.Sum(c => c.Tokens.Length - prompt) + prompt, "the prompt once");
        long apart = FeatureBatch.Of(conversations, all, sharesPrompts: false, () => 1 << 20).Single().Tokens;
        apart.ShouldBe(conversations.Sum(c => c.Tokens.Length));
        using CancellationTokenSource stop = new();
        stop.Cancel();
        Should.Throw<OperationCanceledException>(() => extractor.Extract(conversations, null, stop.Token));
    }

    [Theory]
    [InlineData("""{"rope_type":"linear","factor":4.0}""")]
    [InlineData("""{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"""
        + """ "original_max_position_embeddings":64}""")]
    public void Rope_scaling_changes_the_features_and_float32_follows_float64(string scaling)
    {
        using TemporaryFolder folder = new();
        string plain = TinyCheckpoint.Write(folder.File("plain")),
            scaled = TinyCheckpoint.Write(folder.File("scaled"), c => c["rope_scaling"] = JsonNode.Parse(scaling));
        double[] wide = Hidden(scaled, ScalarType.Float64), narrow = Hidden(scaled, ScalarType.Float32);
        wide.Zip(narrow, (a, b) => Math.Abs(a - b)).Max().ShouldBeLessThan(1e-4);
        Hidden(plain, ScalarType.Float64).Zip(wide, (a, b) => Math.Abs(a - b)).Max().ShouldBeGreaterThan(1e-3);
    }

    [Fact]
    public void The_digest_follows_every_file_that_decides_a_feature()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        string before = Checkpoint.Digest(folder.Path);
        folder.Write("README.md", "no effect");
        Checkpoint.Digest(folder.Path).ShouldBe(before);
        TinyCheckpoint.Write(folder.Path, seed: 2);
        Checkpoint.Digest(folder.Path).ShouldNotBe(before);
    }

    [Fact]
    public void Dtype_auto_settles_on_float32_for_small_checkpoints_and_by_measurement_for_large_ones()
    {
        ComputeType.Settle("bf16", 0, 16, 32).ShouldBe("bf16");
        ComputeType.Settle("auto", 1000, 16, 32).ShouldBe("f32");
        ComputeType.Settle("auto", 1L << 40, 256, 512).ShouldBeOneOf("f32", "bf16");
        ComputeType.Parse("bf16").ShouldBe(ScalarType.BFloat16);
        Refused(() => ComputeType.Parse("f8"), "'f8'");
        ComputeType.Hardware.ShouldNotBeEmpty();
    }

    [Fact]
    public void Safetensors_round_trip_with_their_metadata_and_the_same_bytes()
    {
        using TemporaryFolder folder = new();
        using Tensor a = arange(6, ScalarType.Float32).reshape(2, 3), b = tensor(new long[] { 7 });
        foreach (string name in new[] { "1", "2" })
            SafetensorsFile.Write(folder.File(name), [("a", a), ("b", b)], new Dictionary<string, string> { ["y"] = "2", ["x"] = "1" });
        File.ReadAllBytes(folder.File("1")).ShouldBe(File.ReadAllBytes(folder.File("2")));
        using SafetensorsFile file = new(folder.File("1"));
        file.LoadFloats("a").ShouldBe([0, 1, 2, 3, 4, 5]);
        file.Entry("a").Shape.ShouldBe([2, 3]);
        file.Metadata["x"].ShouldBe("1");
        float[] row = new float[3];
        file.ReadRow(file.Entry("a"), 1, row);
        row.ShouldBe([3, 4, 5]);
        Refused(() => file.Entry("c"), "no tensor 'c'");
        Refused(() => new SafetensorsRows([file], "b", rank: 2), "[n, d]");
        using Tensor half = a.to(ScalarType.BFloat16);
        SafetensorsFile.Write(folder.File("half"), [("a", half)]);
        using SafetensorsFile halves = new(folder.File("half"));
        new SafetensorsRows([halves, file], "a", rank: 2).Copy(1, row);
        row.ShouldBe([3, 4, 5]);
        new SafetensorsRows([file, file], "a", rank: 2).Count.ShouldBe(4);
        Directory.GetFiles(folder.Path).Length.ShouldBe(3, "nothing half-written is left");
    }

    internal static double[] Hidden(string folder, ScalarType type)
    {
        using IBackbone model = Backbones.Load(folder, type, CPU);
        using Tensor tokens = arange(80, ScalarType.Int64).unsqueeze(0), at = tensor(new long[] { 3, 40, 79 }).unsqueeze(0);
        using Tensor hidden = model.Forward(tokens, at).to(ScalarType.Float64);
        return hidden.data<double>().ToArray();
    }

    private static double Largest(float[] a, float[] b) => a.Zip(b, (x, y) => Math.Abs((double)x - y)).Max();

    internal static void Refused(Action action, params string[] expected)
    {
        string message = Should.Throw<InvalidInputException>(action).Message;
        foreach (string part in expected) message.ShouldContain(part);
    }
}
