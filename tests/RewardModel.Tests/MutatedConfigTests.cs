using System.Text.Json.Nodes;
using Shouldly;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>
/// Hundreds of changes to each family's config.json. What a family's class of transformers reads changes the hidden states or is
/// refused, what it passes over changes nothing or is refused, and nothing ends in another error.
/// </summary>
public class MutatedConfigTests
{
    private const int Mutations = 300;
    private const string Linear = """{"rope_type":"linear","factor":4.0}""";
    private const string Yarn = """{"type":"yarn","factor":4.0,"original_max_position_embeddings":128}""";

    private static readonly Dictionary<string, string> Bases = new()
    {
        ["llama"] = "{}",
        ["mistral"] = """{"sliding_window":4}""",
        ["qwen2"] = """{"use_sliding_window":true,"sliding_window":4,"max_window_layers":1}""",
        ["qwen3"] = """{"use_sliding_window":true,"sliding_window":4,"max_window_layers":1}""",
        ["gemma2"] = """{"query_pre_attn_scalar":9,"attn_logit_softcapping":0.7,"sliding_window":3}""",
        ["gemma3_text"] = """{"query_pre_attn_scalar":16,"sliding_window":3,"sliding_window_pattern":2,"rope_local_base_freq":20}""",
        ["olmo2"] = "{}",
        ["phi3"] = """{"sliding_window":5}""",
    };

    private static readonly string[] Windowed = ["mistral", "qwen2", "qwen3", "gemma2", "gemma3_text", "phi3"];
    private static readonly string[] Layered = ["qwen2", "qwen3", "gemma2", "gemma3_text"];
    private static readonly string[] Gemmas = ["gemma2", "gemma3_text"], Qwens = ["qwen2", "qwen3"];
    private static readonly string[] HaveBias = ["llama", "qwen3", "gemma2", "gemma3_text", "olmo2"];

    private sealed record Change(string Key, string Value);

    public static TheoryData<string> Families() => new(Bases.Keys);

    /// <summary>Changes that the family's class reads, each to another meaning than the base has.</summary>
    private static IEnumerable<Change> WithEffect(string family)
    {
        foreach (string value in new[] { "0.3", "0.01" }) yield return new Change("rms_norm_eps", value);
        foreach (string value in new[] { "37", "500000.0" }) yield return new Change("rope_theta", value);
        foreach (string value in new[] { Linear, Yarn }) yield return new Change("rope_scaling", value);
        yield return new Change("partial_rotary_factor", "0.5");
        yield return new Change("num_hidden_layers", "2");
        foreach (string key in new[] { "num_attention_heads", "num_key_value_heads", "hidden_size", "intermediate_size", "vocab_size" })
            yield return new Change(key, "6");
        yield return new Change("head_dim", "6");
        yield return new Change(Gemmas.Contains(family) ? "hidden_activation" : "hidden_act", "\"relu\"");
        yield return new Change("quantization_config", """{"quant_method":"awq"}""");
        if (HaveBias.Contains(family)) yield return new Change("attention_bias", "true");
        if (family == "llama") yield return new Change("mlp_bias", "true");
        if (Windowed.Contains(family)) foreach (string value in new[] { "1", "2" }) yield return new Change("sliding_window", value);
        if (Layered.Contains(family))
        {
            yield return new Change("layer_types", """["sliding_attention","sliding_attention","sliding_attention"]""");
            yield return new Change("layer_types", """["full_attention","full_attention","full_attention"]""");
            yield return new Change("layer_types", """["full_attention","chunked_attention","full_attention"]""");
        }
        if (Qwens.Contains(family))
        {
            foreach (string value in new[] { "0", "2", "3" }) yield return new Change("max_window_layers", value);
            yield return new Change("use_sliding_window", "false");
        }
        if (Gemmas.Contains(family))
        {
            foreach (string value in new[] { "4", "49.0" }) yield return new Change("query_pre_attn_scalar", value);
            yield return new Change("use_bidirectional_attention", "true");
            foreach (string value in new[] { "0.3", "30.0" }) yield return new Change("attn_logit_softcapping", value);
        }
        if (family != "gemma3_text") yield break;
        yield return new Change("sliding_window_pattern", "3");
        yield return new Change("rope_local_base_freq", "400");
    }

    /// <summary>Changes that it passes over, or that mean the same.</summary>
    private static IEnumerable<Change> WithoutEffect(string family)
    {
        (string Key, string[] Values)[] all =
        [
            ("attention_dropout", ["0.1"]), ("hidden_dropout", ["0.5"]), ("embd_pdrop", ["0.5"]), ("resid_pdrop", ["0.1"]),
            ("initializer_range", ["1"]), ("use_cache", ["false"]), ("tie_word_embeddings", ["true", "false"]),
            ("torch_dtype", ["\"bfloat16\""]), ("dtype", ["\"float16\""]), ("bos_token_id", ["3", "[3]", "null"]),
            ("eos_token_id", ["3", "[3,4]"]), ("pad_token_id", ["2"]), ("architectures", ["[\"Other\"]", "null"]),
            ("transformers_version", ["\"5.1.0\""]), ("_name_or_path", ["\"x\""]), ("id2label", ["{}"]), ("num_labels", ["1"]),
            ("final_logit_softcapping", ["30.0", "null"]), ("max_position_embeddings", ["1024"]), ("rope_scaling", ["null"]),
            ("cache_implementation", ["\"hybrid\""]), ("problem_type", ["null"]), ("attn_implementation", ["\"eager\""]),
        ];
        foreach ((string key, string[] values) in all) foreach (string value in values) yield return new Change(key, value);
        if (!Windowed.Contains(family)) yield return new Change("sliding_window", "2");
        if (!Layered.Contains(family))
            yield return new Change("layer_types", """["sliding_attention","full_attention","full_attention"]""");
        if (!Qwens.Contains(family))
        {
            yield return new Change("use_sliding_window", "true");
            yield return new Change("max_window_layers", "0");
        }
        if (!Gemmas.Contains(family))
        {
            yield return new Change("query_pre_attn_scalar", "3");
            yield return new Change("attn_logit_softcapping", "0.3");
            yield return new Change("hidden_activation", "\"relu\"");
        }
        if (!HaveBias.Contains(family)) yield return new Change("attention_bias", "true");
        if (family != "llama") yield return new Change("mlp_bias", "true");
        if (family != "gemma3_text") yield return new Change("rope_local_base_freq", "400");
    }

    private static readonly string[] Damage =
    [
        "null", "true", "-1", "0", "0.5", "1e300", "99999999999", "\"12\"", "\"\"", "[]", "[1]", "{}", "{\"rope_type\":7}",
        "{\"factor\":\"x\"}", "[null]", "\"\\u0000\"",
    ];

    [Theory]
    [MemberData(nameof(Families))]
    public void A_change_has_the_effect_that_it_has_in_transformers_or_is_refused(string family)
    {
        using TemporaryFolder folder = new();
        DecoderTests.Write(folder.Path, family, Bases[family]);
        string path = folder.File("config.json"), written = File.ReadAllText(path);
        double[] plain = BackboneTests.Hidden(folder.Path, ScalarType.Float64);
        Change[] with = [.. WithEffect(family)], without = [.. WithoutEffect(family)];
        Random random = new(Seed: family.Length);
        int refused = 0, changed = 0, same = 0;
        for (int n = 0; n < Mutations; n++)
        {
            Change[] passedOver = [.. Enumerable.Range(0, random.Next(1, 4)).Select(_ => without[random.Next(without.Length)])];
            // In turn: one that has an effect, beside some that have none; only such; and a damaged one.
            Change? effective = n % 3 == 0 ? with[n / 3 % with.Length] : null;
            Change? damaged = n % 3 == 2 ? new Change(with[random.Next(with.Length)].Key, Damage[random.Next(Damage.Length)]) : null;
            Change[] changes = [.. passedOver, .. new[] { effective, damaged }.OfType<Change>()];
            JsonObject config = JsonNode.Parse(written)!.AsObject();
            foreach (Change change in changes) config[change.Key] = JsonNode.Parse(change.Value);
            File.WriteAllText(path, config.ToJsonString());
            string said = string.Join(", ", changes.Select(c => $"{c.Key}: {c.Value}"));
            double[]? found = Hidden(folder.Path, said);
            if (found is null)
            {
                refused++;
                (effective ?? damaged).ShouldNotBeNull($"refused: {said}");
                continue;
            }
            bool isSame = found.SequenceEqual(plain);
            if (effective is not null) isSame.ShouldBeFalse($"no effect: {said}");
            else if (damaged is null) isSame.ShouldBeTrue($"an effect: {said}");
            if (isSame) same++;
            else changed++;
        }
        refused.ShouldBeInRange(20, 200);
        changed.ShouldBeInRange(20, 200);
        same.ShouldBeInRange(90, 200);
    }

    private static double[]? Hidden(string folder, string said)
    {
        try { return BackboneTests.Hidden(folder, ScalarType.Float64); }
        catch (InvalidInputException e)
        {
            e.Message.ShouldContain(folder);
            return null;
        }
        catch (Exception e) { throw new InvalidOperationException($"{e.GetType().Name} by {said}", e); }
    }
}
