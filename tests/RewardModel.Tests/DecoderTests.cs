using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Tensors;
using Shouldly;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Each family's forward pass against the same written out plainly, and what positions are turned by.</summary>
public class DecoderTests
{
    private const int Dimension = 12, Layers = 3, Vocabulary = 90, Width = 24;
    private static readonly int[] Tokens = [3, 17, 39, 0, 5, 5, 21, 8, 30, 11, 2];

    /// <summary>The keys that a family's config.json has of its own, and the model that they describe.</summary>
    public static TheoryData<string> Families() => new(Plain.Keys);

    private static readonly Dictionary<string, (string Keys, Func<PlainDecoder, PlainDecoder> Describe)> Plain = new()
    {
        ["llama"] = ("""{"rms_norm_eps":1e-2}""", model => model with { Epsilon = 1e-2 }),
        ["llama with biases"] = ("""{"attention_bias":true,"mlp_bias":true,"rope_theta":50}""", model => model with { Theta = _ => 50 }),
        ["mistral"] = ("""{"sliding_window":3}""", model => model with { Window = _ => 3 }),
        ["mistral without a window"] = ("""{"sliding_window":null}""", model => model),
        ["qwen2"] = ("""{"use_sliding_window":false,"sliding_window":2,"max_window_layers":0}""", model => model),
        ["qwen2 with windows above"] = ("""{"use_sliding_window":true,"sliding_window":4,"max_window_layers":1}""",
            model => model with { Window = layer => layer >= 1 ? 4 : int.MaxValue }),
        ["qwen3"] = ("""{"head_dim":6}""", model => model with { HeadSize = 6, Scale = 1 / Math.Sqrt(6) }),
        ["qwen3 with layer types"] = ("""
            {"head_dim":4,"use_sliding_window":true,"sliding_window":2,
             "layer_types":["sliding_attention","full_attention","sliding_attention"]}
            """, model => model with { Window = layer => layer == 1 ? int.MaxValue : 2 }),
        ["gemma2"] = ("""
            {"head_dim":4,"query_pre_attn_scalar":9,"attn_logit_softcapping":0.7,"sliding_window":3,
             "hidden_activation":"gelu_pytorch_tanh"}
            """, model => Gemma(model) with { Scale = 1 / 3.0, Cap = 0.7, Window = layer => layer % 2 == 0 ? 3 : int.MaxValue }),
        ["gemma3_text"] = ("""
            {"head_dim":4,"query_pre_attn_scalar":16,"sliding_window":3,"sliding_window_pattern":2,
             "rope_local_base_freq":20,"rope_theta":900}
            """, model => Gemma(model) with
        {
            Scale = 1 / 4.0,
            Window = layer => layer % 2 == 0 ? 3 : int.MaxValue,
            Theta = layer => layer % 2 == 0 ? 20 : 900,
        }),
        ["olmo2"] = ("{}", model => model with { Epsilon = 1e-5 }),
        ["phi3"] = ("""{"sliding_window":5}""", model => model with { Epsilon = 1e-5, Window = _ => 5 }),
    };

    private static PlainDecoder Gemma(PlainDecoder model) => model with
    {
        NormOffset = 1,
        EmbeddingScale = (float)Math.Sqrt(Dimension), // as float32, which the weights are stored in, has it
        Activation = x => 0.5 * x * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + (0.044715 * x * x * x)))),
    };

    [Theory]
    [MemberData(nameof(Families))]
    public void A_family_computes_what_its_papers_say(string name)
    {
        using TemporaryFolder folder = new();
        (string keys, Func<PlainDecoder, PlainDecoder> describe) = Plain[name];
        Dictionary<string, double[]> weights = Write(folder.Path, name.Split(' ')[0], keys);
        PlainDecoder plain = new() { Weights = weights, Dimension = Dimension, Layers = Layers, Width = Width };
        double[][] expected = describe(plain).Run(Tokens);
        using IBackbone model = Backbones.Load(folder.Path, ScalarType.Float64, CPU);

        using DisposeScope scope = NewDisposeScope();
        Tensor tokens = tensor([.. Tokens.Select(t => (long)t)], [1, Tokens.Length]);
        Tensor all = tensor([.. Enumerable.Range(0, Tokens.Length).Select(t => (long)t)], [1, Tokens.Length]);
        ShouldBe(model.Forward(tokens, all), expected);

        // Read at some positions, beside a longer text, and after a prefix: the same.
        Tensor padded = cat([tokens.narrow(1, 0, 5), zeros(1, Tokens.Length - 5, ScalarType.Int64)], 1);
        Tensor both = model.Forward(cat([padded, tokens], 0), tensor([4L, 1L, 10L, 6L], [2, 2]));
        ShouldBe(both.view(1, 4, Dimension), [expected[4], expected[1], expected[10], expected[6]]);
        using BackbonePrefix prefix = model.Read(tokens.narrow(1, 0, 4));
        ShouldBe(prefix.Hidden, [expected[3]]);
        ShouldBe(model.Forward(prefix, tokens.narrow(1, 4, 7), tensor([0L, 6L], [1, 2])), [expected[4], expected[10]]);

        // As texts that follow one another, and two that follow the same one; and in blocks of few queries and weights.
        BackboneText[] texts =
        [
            new(Tokens[..4], [1, 3]),
            new(Tokens[4..9], [4]) { After = 0 },
            new(Tokens[9..], [0, 1]) { After = 1 },
            new(Tokens[4..], [6]) { After = 0 },
            new(Tokens[4..], [6]) { Prefix = prefix },
        ];
        ShouldBe(prefix.Hidden, [expected[3]]); // as it was, whatever has been computed since
        double[][] parts = [expected[1], expected[3], expected[8], expected[9], expected[10], expected[10], expected[10]];
        ShouldBe(model.Forward(texts), parts);
        foreach (WeightsKept kept in Enum.GetValues<WeightsKept>())
        {
            using DecoderModel few =
                new(folder.Path, (DecoderConfig)model.Config, ScalarType.Float64, CPU, kept) { MostScores = 40, MostConverted = 70 };
            ShouldBe(few.Forward(texts), parts);
            ShouldBe(few.Forward(tokens, all), expected);
        }
    }

    private static void ShouldBe(Tensor found, double[][] expected)
    {
        double[] values = found.to(ScalarType.Float64).data<double>().ToArray(), wanted = [.. expected.SelectMany(v => v)];
        values.Length.ShouldBe(wanted.Length);
        for (int i = 0; i < values.Length; i++) values[i].ShouldBe(wanted[i], 1e-9 * Math.Max(1, Math.Abs(wanted[i])), $"number {i}");
    }

    [Theory]
    [InlineData("""{"rope_type":"linear","factor":4}""", 64, new[] { 0.25, 0.025, 0.0025, 0.00025 }, 1.0)]
    [InlineData("""{"rope_type":"dynamic","factor":2}""", 512, new[] { 1, 0.1, 0.01, 0.001 }, 1.0)]
    [InlineData("""{"rope_type":"dynamic","factor":2}""", 800, new[] { 1, 0.0777822237466, 0.00605007433096, 0.000470588235294 }, 1.0)]
    [InlineData("""{"type":"yarn","factor":4,"original_max_position_embeddings":64}""", 9,
        new[] { 1, 0.0625, 0.0025, 0.00025 }, 1.138629436111989)]
    [InlineData("""
        {"type":"yarn","factor":4,"original_max_position_embeddings":64,"truncate":false,"mscale":2,"mscale_all_dim":0.5}
        """, 9, new[] { 1, 0.0255952458919, 0.0025, 0.00025 }, 1.1944648761087142)]
    [InlineData("""
        {"type":"yarn","factor":4,"original_max_position_embeddings":64,"beta_fast":16,"beta_slow":2,"attention_factor":1.25}
        """, 9, new[] { 1, 0.025, 0.0025, 0.00025 }, 1.25)]
    [InlineData("""
        {"rope_type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":64}
        """, 9, new[] { 1, 0.0130422560438, 0.00125, 0.000125 }, 1.0)]
    [InlineData("""
        {"type":"longrope","original_max_position_embeddings":64,"short_factor":[1,1.1,1.2,1.3],"long_factor":[2,3,4,5]}
        """, 64, new[] { 1, 0.0909090909091, 0.00833333333333, 0.000769230769231 }, 1.224744871391589)]
    [InlineData("""
        {"type":"longrope","original_max_position_embeddings":64,"short_factor":[1,1.1,1.2,1.3],"long_factor":[2,3,4,5]}
        """, 65, new[] { 0.5, 0.0333333333333, 0.0025, 0.0002 }, 1.224744871391589)]
    public void Positions_turn_by_the_frequencies_of_transformers(string scaling, long length, double[] frequencies, double attentionFactor)
    {
        using TemporaryFolder folder = new();
        WriteConfig(folder.Path, "llama", $$"""{"head_dim":8,"rope_scaling":{{scaling}}}""");
        RotaryEmbedding rotary = ((DecoderConfig)Backbones.Config(folder.Path)).Rotary;
        rotary.AttentionFactor.ShouldBe(attentionFactor, 1e-12);
        double[] found = rotary.Frequencies(length);
        found.Length.ShouldBe(frequencies.Length);
        for (int i = 0; i < found.Length; i++) found[i].ShouldBe(frequencies[i], 1e-11 * frequencies[i]);
    }

    /// <summary>Texts of a batch are each as alone, though their lengths turn their positions by other frequencies.</summary>
    [Fact]
    public void Where_positions_depend_on_length_each_text_of_a_batch_has_its_own()
    {
        using TemporaryFolder folder = new();
        Write(folder.Path, "llama", """{"max_position_embeddings":4,"rope_scaling":{"type":"dynamic","factor":2}}""");
        using IBackbone model = Backbones.Load(folder.Path, ScalarType.Float64, CPU);
        model.Config.DependsOnLength.ShouldBeTrue();
        using DisposeScope scope = NewDisposeScope();
        Tensor tokens = tensor([.. Tokens.Select(t => (long)t)], [1, Tokens.Length]);
        double[] first = Hidden(4), last = Hidden(Tokens.Length);
        Tensor padded = cat([tokens.narrow(1, 0, 4), zeros(1, Tokens.Length - 4, ScalarType.Int64)], 1);
        Tensor both = model.Forward(cat([padded, tokens], 0), tensor([3L, Tokens.Length - 1], [2, 1]));
        ShouldBe(both.view(1, 2, Dimension), [first, last]);
        using BackbonePrefix prefix = model.Read(tokens.narrow(1, 0, 2));
        Should.Throw<InvalidOperationException>(() => model.Forward(prefix, tokens, tensor([0L], [1, 1])));

        double[] Hidden(int length) => model.Forward(tokens.narrow(1, 0, length), tensor([length - 1L], [1, 1])).data<double>().ToArray();
    }

    /// <summary>A model within another, or saved without its head, has other names for the same tensors.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("language_model.model.")]
    public void Weights_are_found_by_what_stands_before_their_embedding(string prefix)
    {
        using TemporaryFolder plain = new(), other = new();
        Write(plain.Path, "qwen3", """{"head_dim":4}""");
        Write(other.Path, "qwen3", """{"head_dim":4}""", name => prefix + name["model.".Length..]);
        BackboneTests.Hidden(other.Path, ScalarType.Float64).ShouldBe(BackboneTests.Hidden(plain.Path, ScalarType.Float64));
    }

    /// <summary>Projections that are computed as one may be stored in several types: none loses what the narrowest cannot hold.</summary>
    [Theory]
    [InlineData("self_attn.q_proj")]
    [InlineData("mlp.up_proj")]
    public void Weights_of_one_product_may_be_stored_in_several_types(string narrow)
    {
        using TemporaryFolder folder = new();
        Write(folder.Path, "llama", "{}");
        using DisposeScope scope = NewDisposeScope();
        string path = folder.File("model.safetensors");
        List<(string, Tensor)> tensors;
        using (SafetensorsFile stored = new(path))
        {
            tensors = [.. stored.Entries.Keys.Select(name => (name, name.Contains(narrow, StringComparison.Ordinal)
                ? stored.Load(name).to(ScalarType.BFloat16) : stored.Load(name)))];
        }
        SafetensorsFile.Write(path, tensors);
        double[] exact = BackboneTests.Hidden(folder.Path, ScalarType.Float64);
        foreach (WeightsKept kept in new[] { WeightsKept.AsStored, WeightsKept.OnDisk })
        {
            using IBackbone model = Backbones.Load(folder.Path, ScalarType.Float64, CPU, kept);
            Tensor tokens = TensorNumbers.Range(0, 80, ScalarType.Int64).unsqueeze(0), at = tensor(new long[] { 3, 40, 79 }, [1, 3]);
            ShouldBe(model.Forward(tokens, at), [exact]);
        }
    }

    private static void WriteConfig(string folder, string family, string keys)
    {
        JsonObject config = new()
        {
            ["model_type"] = family,
            ["hidden_size"] = Dimension,
            ["intermediate_size"] = Width,
            ["num_hidden_layers"] = Layers,
            ["num_attention_heads"] = 4,
            ["num_key_value_heads"] = 2,
            ["head_dim"] = 4,
            ["vocab_size"] = Vocabulary,
            ["max_position_embeddings"] = 512,
        };
        foreach ((string key, JsonNode? value) in JsonNode.Parse(keys)!.AsObject()) config[key] = value?.DeepClone();
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
    }

    /// <summary>A checkpoint of random weights, which are returned.</summary>
    internal static Dictionary<string, double[]> Write(
        string folder, string family, string keys, Func<string, string>? rename = null)
    {
        WriteConfig(folder, family, keys);
        using DisposeScope scope = NewDisposeScope();
        Dictionary<string, double[]> weights = [];
        List<(string, Tensor)> tensors = [];
        foreach ((string name, long[] shape) in Backbones.Config(folder).Shapes)
        {
            float[] values = [.. Enumerable.Range(0, (int)shape.Aggregate(1L, (a, b) => a * b))
                .Select(i => (float)(CounterRandom.Uniform(1, (ulong)tensors.Count, (ulong)i) - 0.5))];
            weights[name] = [.. values.Select(v => (double)v)];
            tensors.Add((rename?.Invoke(name) ?? name, tensor(values, shape)));
        }
        SafetensorsFile.Write(Path.Combine(folder, "model.safetensors"), tensors);
        return weights;
    }
}
