using System.IO.Compression;
using System.Text.Json;
using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>A random Llama of some 90 million weights beside its embedding, in bfloat16, with a tokenizer that is given.</summary>
internal sealed record BenchCheckpoint(int Layers, int Vocabulary)
{
    public const int Hidden = 1024, Heads = 16, KeyValueHeads = 4, HeadSize = 64, Intermediate = 2816;
    public const double Theta = 500_000;
    private const double Deviation = 0.02;

    /// <summary>Weights of the products of a layer: queries, keys and values; the output; gate and up; down.</summary>
    public static (int In, int Out)[] Products { get; } =
        [(Hidden, Hidden + 2 * KeyValueHeads * HeadSize), (Hidden, Hidden), (Hidden, 2 * Intermediate), (Intermediate, Hidden)];

    /// <summary>Operations that the products take for so many tokens, of which so many are read in the last layer.</summary>
    public double Flops(long tokens, long reads)
    {
        double layer = Products.Sum(p => 2.0 * p.In * p.Out), keysAndValues = 2.0 * Hidden * 2 * KeyValueHeads * HeadSize;
        return tokens * ((Layers - 1) * layer + keysAndValues) + reads * (layer - keysAndValues);
    }

    /// <summary>Writes a folder.</summary>
    /// <param name="folder">Where to.</param>
    /// <param name="tokenizer">A tokenizer.json, also gzipped.</param>
    /// <param name="layers">How many layers.</param>
    public static BenchCheckpoint Write(string folder, string tokenizer, int layers = 8)
    {
        string copy = Path.Combine(folder, "tokenizer.json");
        bool isPacked = tokenizer.EndsWith(".gz", StringComparison.Ordinal);
        using (FileStream source = File.OpenRead(tokenizer))
        using (Stream plain = isPacked ? new GZipStream(source, CompressionMode.Decompress) : source)
        using (FileStream target = File.Create(copy)) plain.CopyTo(target);
        using JsonDocument file = JsonDocument.Parse(File.ReadAllBytes(copy));
        int largest = Math.Max(file.RootElement.GetProperty("model").GetProperty("vocab").EnumerateObject().Max(t => t.Value.GetInt32()),
            file.RootElement.GetProperty("added_tokens").EnumerateArray().Max(t => t.GetProperty("id").GetInt32()));
        BenchCheckpoint shape = new(layers, largest + 1);
        File.WriteAllText(Path.Combine(folder, "config.json"), JsonSerializer.Serialize(new
        {
            architectures = new[] { "LlamaForCausalLM" },
            model_type = "llama",
            hidden_size = Hidden,
            intermediate_size = Intermediate,
            num_hidden_layers = layers,
            num_attention_heads = Heads,
            num_key_value_heads = KeyValueHeads,
            vocab_size = shape.Vocabulary,
            max_position_embeddings = 8192,
            rms_norm_eps = 1e-5,
            rope_theta = Theta,
            tie_word_embeddings = true,
        }));
        shape.WriteWeights(Path.Combine(folder, "model.safetensors"));
        return shape;
    }

    /// <summary>Every tensor with its shape.</summary>
    public IEnumerable<(string Name, long[] Shape)> Tensors()
    {
        yield return ("model.embed_tokens.weight", [Vocabulary, Hidden]);
        yield return ("model.norm.weight", [Hidden]);
        for (int layer = 0; layer < Layers; layer++)
        {
            string at = $"model.layers.{layer}.";
            yield return (at + "input_layernorm.weight", [Hidden]);
            yield return (at + "post_attention_layernorm.weight", [Hidden]);
            yield return (at + "self_attn.q_proj.weight", [Hidden, Hidden]);
            yield return (at + "self_attn.k_proj.weight", [KeyValueHeads * HeadSize, Hidden]);
            yield return (at + "self_attn.v_proj.weight", [KeyValueHeads * HeadSize, Hidden]);
            yield return (at + "self_attn.o_proj.weight", [Hidden, Hidden]);
            yield return (at + "mlp.gate_proj.weight", [Intermediate, Hidden]);
            yield return (at + "mlp.up_proj.weight", [Intermediate, Hidden]);
            yield return (at + "mlp.down_proj.weight", [Hidden, Intermediate]);
        }
    }

    private void WriteWeights(string path)
    {
        using DisposeScope scope = NewDisposeScope();
        random.manual_seed(17);
        SafetensorsFile.Write(path, [.. Tensors().Select(t => (t.Name, t.Shape.Length == 1 ? ones(t.Shape, ScalarType.BFloat16)
            : randn(t.Shape).mul(tensor(Deviation)).to(ScalarType.BFloat16)))]);
    }
}
