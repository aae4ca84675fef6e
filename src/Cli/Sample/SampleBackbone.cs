using System.Text;
using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.RewardModel.Text.Templates;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Cli.Sample;

/// <summary>
/// A Llama checkpoint of random weights whose attention is nearly uniform, so that a hidden state holds the mean of the
/// words before it: enough for a linear reward to read the planted truth, and made in a moment.
/// </summary>
internal static class SampleBackbone
{
    private const ulong Seed = 8;
    private const int HeadSize = 24;
    private const double AttentionScale = 0.02, MixScale = 4, FeedForwardScale = 0.3;

    // Llama-3's own split: contractions, words with one leading character, numbers, punctuation, blanks.
    private const string Split =
        @"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    /// <param name="folder">Where to.</param>
    /// <param name="hidden">Its hidden size; heads have 24 dimensions.</param>
    /// <param name="layers">How many layers.</param>
    public static void Write(string folder, int hidden = 96, int layers = 2)
    {
        List<string> special =
            [Llama3Template.BeginOfText, Llama3Template.StartHeader, Llama3Template.EndHeader, Llama3Template.EndOfTurn, "<|end_of_text|>"];
        List<string> vocabulary = [.. Enumerable.Range(0, 256).Select(b => ByteAlphabet.Encode([(byte)b]))];
        vocabulary.AddRange(Words.All.Distinct()
            .SelectMany(w => new[] { w, " " + w })
            .Select(w => ByteAlphabet.Encode(Encoding.UTF8.GetBytes(w))));
        DecoderConfig config = new()
        {
            HiddenSize = hidden,
            IntermediateSize = 2 * hidden,
            NumHiddenLayers = layers,
            NumAttentionHeads = hidden / HeadSize,
            KeyValueHeads = hidden / HeadSize / 2,
            HeadSize = HeadSize,
            VocabSize = vocabulary.Count + special.Count,
            MaxPositionEmbeddings = 2048,
            RmsNormEps = 1e-5,
            Rotary = new RotaryEmbedding { Theta = 500000, HasTheta = true, Size = HeadSize },
        };
        AtomicFile.WriteText(Path.Combine(folder, "config.json"), new JsonObject
        {
            ["architectures"] = new JsonArray("LlamaForCausalLM"),
            ["model_type"] = "llama",
            ["hidden_size"] = config.HiddenSize,
            ["intermediate_size"] = config.IntermediateSize,
            ["num_hidden_layers"] = config.NumHiddenLayers,
            ["num_attention_heads"] = config.NumAttentionHeads,
            ["num_key_value_heads"] = config.KeyValueHeads,
            ["vocab_size"] = config.VocabSize,
            ["max_position_embeddings"] = config.MaxPositionEmbeddings,
            ["rms_norm_eps"] = config.RmsNormEps,
            ["rope_theta"] = config.Rotary.Theta,
            ["hidden_act"] = "silu",
            ["attention_bias"] = false,
            ["mlp_bias"] = false,
            ["tie_word_embeddings"] = true,
            ["torch_dtype"] = "float32",
        }.ToJsonString(Terminal.Json));
        AtomicFile.WriteText(Path.Combine(folder, "tokenizer.json"), Tokenizer(vocabulary, special).ToJsonString());
        AtomicFile.WriteText(Path.Combine(folder, "tokenizer_config.json"), new JsonObject
        {
            ["chat_template"] =
                "{{- bos_token }}{%- for message in messages %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + "
                    + "message['content'] | trim + '<|eot_id|>' }}{%- endfor %}",
            ["bos_token"] = Llama3Template.BeginOfText,
            ["eos_token"] = Llama3Template.EndOfTurn,
        }.ToJsonString(Terminal.Json));
        WriteWeights(Path.Combine(folder, "model.safetensors"), config);
    }

    private static JsonObject Tokenizer(List<string> vocabulary, List<string> special) => new()
    {
        ["version"] = "1.0",
        ["added_tokens"] = new JsonArray([.. special.Select((s, i) => (JsonNode)new JsonObject
        {
            ["id"] = vocabulary.Count + i,
            ["content"] = s,
            ["special"] = true,
            ["normalized"] = false,
            ["lstrip"] = false,
            ["rstrip"] = false,
            ["single_word"] = false
        })]),
        ["normalizer"] = null,
        ["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Sequence",
            ["pretokenizers"] = new JsonArray(
                new JsonObject
                {
                    ["type"] = "Split",
                    ["pattern"] = new JsonObject { ["Regex"] = Split },
                    ["behavior"] = "Isolated",
                    ["invert"] = false
                },
                new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["trim_offsets"] = true, ["use_regex"] = false }),
        },
        ["model"] = new JsonObject
        {
            ["type"] = "BPE",
            ["ignore_merges"] = true,
            ["byte_fallback"] = false,
            ["merges"] = new JsonArray(),
            ["vocab"] = new JsonObject(vocabulary.Select((token, id) => KeyValuePair.Create(token, (JsonNode?)JsonValue.Create(id)))),
        },
    };

    private static void WriteWeights(string path, DecoderConfig config)
    {
        using DisposeScope scope = NewDisposeScope();
        ulong stream = 0;
        List<(string, Tensor)> tensors = [];
        foreach ((string name, long[] shape) in config.Shapes)
        {
            double scale = ScaleOf(name, shape[^1]);
            tensors.Add((name, scale == 0 ? ones(shape) : tensor(Normal(stream++, shape.Aggregate(1L, (a, b) => a * b), scale), shape)));
        }
        SafetensorsFile.Write(path, tensors);
    }

    /// <summary>Normal values by Box and Muller's transform of a counter-based generator.</summary>
    /// <summary>Standard deviation of a tensor's weights; 0 for one that is all ones.</summary>
    private static double ScaleOf(string name, long inputs)
    {
        if (Has("norm")) return 0;
        if (Has("embed")) return 1;
        double scale = name switch
        {
            _ when Has("q_proj") || Has("k_proj") => AttentionScale,
            _ when Has("o_proj") => MixScale,
            _ when Has("mlp") => FeedForwardScale,
            _ => 1,
        };
        return scale / Math.Sqrt(inputs);

        bool Has(string part) => name.Contains(part, StringComparison.Ordinal);
    }

    private static float[] Normal(ulong stream, long count, double scale)
    {
        float[] values = new float[count];
        for (int i = 0; i < values.Length; i++)
        {
            double radius = Math.Sqrt(-2 * Math.Log(1 - CounterRandom.Uniform(Seed, stream, 2 * (ulong)i)));
            values[i] = (float)(scale * radius * Math.Cos(2 * Math.PI * CounterRandom.Uniform(Seed, stream, 2 * (ulong)i + 1)));
        }
        return values;
    }
}
