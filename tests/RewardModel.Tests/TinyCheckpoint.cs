using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>A random two-shard Llama of 16 dimensions with a byte-level tokenizer, small enough to write for each test.</summary>
internal static class TinyCheckpoint
{
    private static readonly string[] Special = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"];

    public static string Write(string folder, Action<JsonObject>? configure = null, Action<JsonObject>? tokenizer = null, ulong seed = 1,
        Action<string, Tensor>? weights = null)
    {
        Directory.CreateDirectory(folder);
        JsonObject config = new()
        {
            ["model_type"] = "llama",
            ["hidden_size"] = 16,
            ["intermediate_size"] = 32,
            ["num_hidden_layers"] = 2,
            ["num_attention_heads"] = 4,
            ["num_key_value_heads"] = 2,
            ["vocab_size"] = 256 + Special.Length,
            ["rms_norm_eps"] = 1e-5,
            ["rope_theta"] = 10000.0,
            ["hidden_act"] = "silu",
            ["max_position_embeddings"] = 512,
        };
        configure?.Invoke(config);
        File.WriteAllText(Path.Combine(folder, "config.json"), config.ToJsonString());
        JsonObject file = Tokenizer();
        tokenizer?.Invoke(file);
        File.WriteAllText(Path.Combine(folder, "tokenizer.json"), file.ToJsonString());
        WriteShards(folder, seed, weights);
        return folder;
    }

    private static void WriteShards(string folder, ulong seed, Action<string, Tensor>? weights)
    {
        using DisposeScope scope = NewDisposeScope();
        DecoderConfig shape = new()
        {
            HiddenSize = 16,
            IntermediateSize = 32,
            NumHiddenLayers = 2,
            NumAttentionHeads = 4,
            KeyValueHeads = 2,
            HeadSize = 4,
            RmsNormEps = 1e-5,
            Rotary = new RotaryEmbedding { Size = 4 },
            VocabSize = 256 + Special.Length
        };
        (string, Tensor)[] tensors = [.. shape.Shapes.Select((t, n) => (t.Key,
            tensor([.. Enumerable.Range(0, (int)t.Value.Aggregate(1L, (a, b) => a * b))
                .Select(i => (float)(CounterRandom.Uniform(seed, (ulong)n, (ulong)i) - 0.5))], t.Value)))];
        foreach ((string name, Tensor value) in tensors) weights?.Invoke(name, value);
        JsonObject map = [];
        for (int s = 0; s < 2; s++)
        {
            string name = $"model-0000{s + 1}-of-00002.safetensors";
            (string, Tensor)[] shard = [.. tensors.Where((_, i) => i % 2 == s)];
            SafetensorsFile.Write(Path.Combine(folder, name), shard);
            foreach ((string tensor, _) in shard) map[tensor] = name;
        }
        File.WriteAllText(Path.Combine(folder, "model.safetensors.index.json"), new JsonObject { ["weight_map"] = map }.ToJsonString());
    }

    private static JsonObject Tokenizer() => new()
    {
        ["added_tokens"] = new JsonArray([.. Special.Select((s, i) => (JsonNode)new JsonObject { ["id"] = 256 + i, ["content"] = s })]),
        ["normalizer"] = null,
        ["pre_tokenizer"] = new JsonObject
        {
            ["type"] = "Sequence",
            ["pretokenizers"] = new JsonArray(
                new JsonObject { ["type"] = "Split", ["pattern"] = new JsonObject { ["Regex"] = @"\s+|\S+" }, ["behavior"] = "Isolated" },
                new JsonObject { ["type"] = "ByteLevel", ["add_prefix_space"] = false, ["use_regex"] = false }),
        },
        ["model"] = new JsonObject
        {
            ["type"] = "BPE",
            ["merges"] = new JsonArray(),
            ["vocab"] = new JsonObject(Enumerable.Range(0, 256)
                .Select(b => KeyValuePair.Create(ByteAlphabet.Encode([(byte)b]), (JsonNode?)JsonValue.Create(b))))
        },
    };
}
