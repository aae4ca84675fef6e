using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace ArmoFlow.Bench;

/// <summary>
/// A Llama as transformers computes it in PyTorch: padded batches, one product for each projection, key-value heads repeated, every
/// position of every layer.
/// </summary>
internal sealed class EagerLlama(string folder, BenchCheckpoint shape, ScalarType type) : IDisposable
{
    private readonly Dictionary<string, Tensor> _weights = Load(folder, shape, type);

    private static Dictionary<string, Tensor> Load(string folder, BenchCheckpoint shape, ScalarType type)
    {
        using SafetensorsFile file = new(Path.Combine(folder, "model.safetensors"));
        return shape.Tensors().ToDictionary(t => t.Name, t => file.Load(t.Name).to(type));
    }

    /// <summary>Hidden states of rows, padded on the right: [batch, length, d].</summary>
    public Tensor Forward(IReadOnlyList<int[]> rows)
    {
        using DisposeScope scope = NewDisposeScope();
        using var noGradient = no_grad();
        int length = rows.Max(row => row.Length);
        long[] ids = [.. rows.SelectMany(row => row.Select(id => (long)id).Concat(Enumerable.Repeat(0L, length - row.Length)))];
        Tensor x = _weights["model.embed_tokens.weight"].index_select(0, tensor(ids)).view(rows.Count, length, BenchCheckpoint.Hidden);
        Tensor steps = tensor([.. Enumerable.Range(0, BenchCheckpoint.HeadSize / 2)
            .Select(i => Math.Pow(BenchCheckpoint.Theta, -2.0 * i / BenchCheckpoint.HeadSize))]);
        Tensor angles = TensorRange(length).unsqueeze(1) * steps;
        angles = cat([angles, angles], -1);
        Tensor cos = angles.cos().to(type), sin = angles.sin().to(type);
        for (int layer = 0; layer < shape.Layers; layer++)
        {
            using DisposeScope inner = NewDisposeScope();
            x = Layer($"model.layers.{layer}.", x, cos, sin).MoveToOuterDisposeScope();
        }
        return Norm(x, "model.norm.weight").MoveToOuterDisposeScope();
    }

    private Tensor Layer(string at, Tensor x, Tensor cos, Tensor sin)
    {
        Tensor normed = Norm(x, at + "input_layernorm.weight");
        Tensor q = Rotate(Heads(normed, at + "self_attn.q_proj.weight"), cos, sin);
        Tensor k = Repeat(Rotate(Heads(normed, at + "self_attn.k_proj.weight"), cos, sin));
        Tensor v = Repeat(Heads(normed, at + "self_attn.v_proj.weight"));
        Tensor attended = scaled_dot_product_attention(q, k, v, is_casual: true).transpose(1, 2).flatten(2);
        x = x + Product(attended, at + "self_attn.o_proj.weight");
        Tensor inner = Norm(x, at + "post_attention_layernorm.weight");
        return x + Product(silu(Product(inner, at + "mlp.gate_proj.weight")) * Product(inner, at + "mlp.up_proj.weight"),
            at + "mlp.down_proj.weight");
    }

    private Tensor Product(Tensor x, string weight) => linear(x, _weights[weight]);

    private Tensor Heads(Tensor x, string weight) =>
        Product(x, weight).view(x.shape[0], x.shape[1], -1, BenchCheckpoint.HeadSize).transpose(1, 2);

    private static Tensor Repeat(Tensor x) => x.repeat_interleave(BenchCheckpoint.Heads / BenchCheckpoint.KeyValueHeads, 1);

    private Tensor Norm(Tensor x, string weight)
    {
        Tensor wide = x.to(ScalarType.Float32);
        Tensor scale = rsqrt((wide * wide).mean([-1], keepdim: true) + tensor(1e-5f));
        return _weights[weight] * (wide * scale).to(type);
    }

    private static Tensor Rotate(Tensor x, Tensor cos, Tensor sin)
    {
        long half = x.shape[^1] / 2;
        return x * cos + cat([-x.narrow(-1, half, half), x.narrow(-1, 0, half)], -1) * sin;
    }

    private static Tensor TensorRange(int count) => tensor([.. Enumerable.Range(0, count).Select(i => (double)i)]);

    public void Dispose()
    {
        foreach (Tensor weight in _weights.Values) weight.Dispose();
    }
}
