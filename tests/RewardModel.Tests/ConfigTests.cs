using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Backbone;
using Shouldly;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>
/// config.json as transformers writes it before version 5 and from then on: whatever is in it, the hidden states are those that
/// LlamaModel of transformers computes, or the key is refused by name. Nothing is wrong in silence.
/// </summary>
public class ConfigTests
{
    private const string Llama3Rope =
        """{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":64}""";

    /// <summary>Keys that LlamaModel does not read, or reads to the same effect with these values.</summary>
    public static TheoryData<string, string> WithoutEffect()
    {
        TheoryData<string, string> all = [];
        (string Key, string[] Values)[] table =
        [
            ("attention_bias", ["false", "null"]), ("mlp_bias", ["false", "null"]), ("hidden_act", ["\"silu\"", "\"swish\""]),
            ("head_dim", ["4", "null"]), ("partial_rotary_factor", ["1.0", "1", "null"]), ("quantization_config", ["null"]),
            ("rope_scaling", ["null", """{"rope_type":"default"}""", """{"type":"default","factor":7}"""]),
            ("rope_parameters",
                ["null", "{}", """{"rope_type":"default","rope_theta":10000}""", """{"rope_theta":10000.0,"partial_rotary_factor":1.0}"""]),
            ("attention_dropout", ["0.1"]), ("initializer_range", ["1"]), ("use_cache", ["true"]), ("tie_word_embeddings", ["true"]),
            ("torch_dtype", ["\"bfloat16\""]), ("dtype", ["\"float16\""]), ("pretraining_tp", ["1", "2"]), ("bos_token_id", ["3", "[3]"]),
            ("pad_token_id", ["null", "2"]), ("architectures", ["""["LlamaForSequenceClassification"]"""]),
            ("transformers_version", ["\"5.1.0\""]),
            ("sliding_window", ["8"]), ("use_sliding_window", ["true"]), ("layer_types", ["""["full_attention","sliding_attention"]"""]),
            ("attn_logit_softcapping", ["1.0"]), ("_name_or_path", ["\"x\""]), ("id2label", ["""{"0":"a"}"""]),
            ("max_position_embeddings", ["4096"]),
        ];
        foreach ((string key, string[] values) in table) foreach (string value in values) all.Add(key, value);
        return all;
    }

    [Theory]
    [MemberData(nameof(WithoutEffect))]
    public void What_transformers_passes_over_changes_nothing(string key, string value)
    {
        using TemporaryFolder folder = new();
        double[] plain = BackboneTests.Hidden(TinyCheckpoint.Write(folder.File("plain")), ScalarType.Float64);
        BackboneTests.Hidden(TinyCheckpoint.Write(folder.File("other"), c => c[key] = JsonNode.Parse(value)), ScalarType.Float64)
            .ShouldBe(plain);
    }

    /// <summary>Keys that would change the result in a way that is not computed here, or that are no values at all.</summary>
    public static TheoryData<string, string, string> Refused()
    {
        TheoryData<string, string, string> all = [];
        void Add(string key, string value, string? named = null) => all.Add(key, value, named ?? key);
        foreach (string key in new[] { "attention_bias", "mlp_bias" })
        {
            foreach (string value in new[] { "1", "\"yes\"" }) Add(key, value);
            Add(key, "true", "_proj.bias"); // which the weights lack
        }
        foreach (string value in new[] { "\"gelu\"", "\"relu\"", "\"gelu_pytorch_tanh\"", "7" }) Add("hidden_act", value);
        foreach (string value in new[] { "0.5", "0", "\"half\"" }) Add("partial_rotary_factor", value);
        foreach (string value in new[] { "\"mixtral\"", "\"llama4_text\"", "null" }) Add("model_type", value);
        Add("quantization_config", """{"quant_method":"gptq"}""");
        foreach (string name in new[] { "rope_scaling", "rope_parameters" })
        {
            foreach (string kind in new[] { "su", "proportional", "mrope" })
                Add(name, $$"""{"rope_type":"{{kind}}","factor":2.0}""", $"{name}.rope_type '{kind}'");
            foreach (string kind in new[] { "yarn", "dynamic" }) Add(name, $$"""{"rope_type":"{{kind}}"}""", $"{name}.factor");
            Add(name, """{"rope_type":"yarn","factor":2.0,"beta_fast":1,"beta_slow":2}""", "beta_fast 1 below");
            Add(name, """{"rope_type":"yarn","factor":2.0,"truncate":"no"}""", $"{name}.truncate");
            Add(name, """{"rope_type":"dynamic","factor":2.0,"original_max_position_embeddings":64}""", "max_position_embeddings 512");
            Add(name, LongRope("[1,1]", "[2]"), $"{name}.long_factor of 1 numbers");
            Add(name, LongRope("[1,0]", "[2,2]"), $"{name}.short_factor");
            Add(name, LongRope("[1,1]", "[2,2]").Replace("64", "null", StringComparison.Ordinal), "original_max_position_embeddings");
            Add(name, LongRope("[1,1]", "[2,2]").Replace("}", ",\"factor\":3}", StringComparison.Ordinal), $"{name}.factor 3");
            Add(name, """{"rope_type":"llama3","type":"linear","factor":2.0}""", "type 'linear'");
            Add(name, """{"full_attention":{"rope_type":"default"},"sliding_attention":{"rope_type":"default"}}""",
                $"{name}.full_attention");
            Add(name, """{"rope_type":"default","partial_rotary_factor":0.25}""", $"{name}.partial_rotary_factor");
            Add(name, """{"rope_type":"default","rope_thetta":500000}""", $"{name}.rope_thetta");
            Add(name, """{"rope_type":"linear"}""", $"{name}.factor");
            Add(name, """{"rope_type":"linear","factor":"4"}""", $"{name}.factor");
            Add(name, """{"rope_type":"linear","factor":-4}""", $"{name}.factor");
            Add(name, Llama3Rope.Replace(",\"original_max_position_embeddings\":64", "", StringComparison.Ordinal),
                $"{name}.original_max_position_embeddings");
            Add(name, Llama3Rope.Replace("\"low_freq_factor\":1.0", "\"low_freq_factor\":4.0", StringComparison.Ordinal),
                "low_freq_factor 4");
            Add(name, "\"linear\"", name);
            Add(name, "[]", name);
        }
        Add("rope_parameters", """{"rope_theta":500000}""", "rope_theta 10000"); // beside the old key, which says something else
        foreach (string value in new[] { "\"10000\"", "-1", "0", "true", "[]", "1e999" }) Add("rope_theta", value);
        foreach (string key in new[] { "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "intermediate_size" })
            foreach (string value in new[] { "null", "0", "-1", "1.5", "\"16\"", "99999999999", "{}" }) Add(key, value);
        foreach (string value in new[] { "0", "-1e-5", "\"1e-5\"" }) Add("rms_norm_eps", value);
        Add("num_key_value_heads", "3", "3 key-value heads");
        Add("head_dim", "3", "of size 3");
        Add("head_dim", "8", "[16, 16]"); // the weights' shapes say otherwise
        Add("num_key_value_heads", "null", "self_attn");
        return all;
    }

    private static string LongRope(string shortFactors, string longFactors) => $$"""
        {"rope_type":"longrope","original_max_position_embeddings":64,"short_factor":{{shortFactors}},"long_factor":{{longFactors}}}
        """;

    [Theory]
    [MemberData(nameof(Refused))]
    public void What_would_change_the_result_is_refused_by_name(string key, string value, string named)
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path, c => c[key] = value == "1e999" ? JsonNode.Parse("1e999") : JsonNode.Parse(value));
        string message = Should.Throw<InvalidInputException>(() => BackboneParts.Open(folder.Path)).Message;
        message.ShouldContain("config.json"); // the file, or beside which file
        message.ShouldContain(named);
    }

    [Theory]
    [InlineData("""{"rope_theta":500000.0}""", """{"rope_parameters":{"rope_type":"default","rope_theta":500000.0}}""")]
    [InlineData("""{"rope_theta":500000.0,"rope_scaling":LLAMA3}""", """{"rope_parameters":LLAMA3+THETA}""")]
    [InlineData("""{"rope_scaling":{"type":"linear","factor":4.0}}""",
        """{"rope_parameters":{"rope_type":"linear","factor":4.0,"rope_theta":10000}}""")]
    [InlineData("""{"rope_theta":500000.0,"rope_scaling":LLAMA3}""",
        """{"rope_theta":500000.0,"rope_parameters":LLAMA3,"rope_scaling":LLAMA3}""")]
    public void Both_layouts_say_the_same(string older, string newer)
    {
        using TemporaryFolder folder = new();
        double[] plain = Hidden("plain", "{}"), old = Hidden("old", older), now = Hidden("new", newer);
        now.ShouldBe(old);
        old.Zip(plain, (a, b) => Math.Abs(a - b)).Max().ShouldBeGreaterThan(1e-3);

        double[] Hidden(string name, string keys)
        {
            string json = keys.Replace("LLAMA3+THETA", Llama3Rope[..^1] + ",\"rope_theta\":500000.0}", StringComparison.Ordinal)
                .Replace("LLAMA3", Llama3Rope, StringComparison.Ordinal);
            return BackboneTests.Hidden(TinyCheckpoint.Write(folder.File(name), config =>
            {
                config.Remove("rope_theta");
                foreach ((string key, JsonNode? value) in JsonNode.Parse(json)!.AsObject()) config[key] = value?.DeepClone();
            }), ScalarType.Float64);
        }
    }

    [Fact]
    public void Without_a_base_it_is_that_of_transformers_and_said_to_be()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path, c => c.Remove("rope_theta"));
        RotaryEmbedding rotary = ((DecoderConfig)Backbones.Config(folder.Path)).Rotary;
        rotary.Theta.ShouldBe(10000);
        rotary.ToString().ShouldContain("config.json names none");
    }
}
