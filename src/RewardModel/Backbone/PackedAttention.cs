using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// Attention of packed texts, text by text: what one yields does not depend on its neighbours. Each key-value head serves as many
/// consecutive query heads and is not repeated in memory.
/// </summary>
/// <param name="config">Says how heads attend.</param>
/// <param name="compute">The type to compute in.</param>
/// <param name="texts">The texts.</param>
/// <param name="mostScores">The most scores, or entries of a mask, of a block of queries.</param>
internal sealed class PackedAttention(DecoderConfig config, ScalarType compute, PackedTexts texts, long mostScores)
{
    private readonly int _queriesEach = config.NumAttentionHeads / config.KeyValueHeads;

    /// <summary>Attention of all tokens.</summary>
    /// <param name="layer">The layer, from 0.</param>
    /// <param name="q">[rows, heads, headDim].</param>
    /// <param name="k">[rows, kvHeads, headDim].</param>
    /// <param name="v">The same.</param>
    /// <returns>[rows, heads · headDim].</returns>
    public Tensor OfAll(int layer, Tensor q, Tensor k, Tensor v)
    {
        Tensor attended = empty([q.shape[0], q.shape[1] * q.shape[2]], compute, q.device);
        long filled = texts.Begins[^1] + texts.Texts[^1].Tokens.Length;
        attended.narrow(0, filled, attended.shape[0] - filled).zero_(); // rows of no text
        for (int text = 0; text < texts.Texts.Count; text++)
        {
            using DisposeScope scope = NewDisposeScope();
            long length = texts.Texts[text].Tokens.Length, before = texts.Before[text];
            Tensor own = q.narrow(0, texts.Begins[text], length), into = attended.narrow(0, texts.Begins[text], length);
            Tensor seenK = Seen(layer, text, length, k, isKey: true), seenV = Seen(layer, text, length, v, isKey: false);
            if (texts.IsPlain(text, layer) && config.Softcap is null) into.copy_(Attend(own, seenK, seenV, null, isCausal: true));
            else InBlocks(layer, before, own, seenK, seenV, into);
        }
        return attended;
    }

    /// <summary>Attention of the tokens that are read.</summary>
    /// <param name="layer">The layer, from 0.</param>
    /// <param name="q">[reads, heads, headDim].</param>
    /// <param name="k">[rows, kvHeads, headDim].</param>
    /// <param name="v">The same.</param>
    /// <returns>[reads, heads · headDim].</returns>
    public Tensor OfReads(int layer, Tensor q, Tensor k, Tensor v)
    {
        Tensor attended = zeros([q.shape[0], q.shape[1] * q.shape[2]], compute, q.device);
        for (int read = 0; read < texts.Reads.Count; read++)
        {
            using DisposeScope scope = NewDisposeScope();
            (int text, int at) = texts.Reads[read];
            long keys = texts.Before[text] + at + 1, first = texts.FirstSeen(layer, keys);
            Tensor seenK = Seen(layer, text, at + 1, k, isKey: true).narrow(0, first, keys - first);
            Tensor seenV = Seen(layer, text, at + 1, v, isKey: false).narrow(0, first, keys - first);
            attended.narrow(0, read, 1).copy_(Attend(q.narrow(0, read, 1), seenK, seenV, null, isCausal: false));
        }
        return attended;
    }

    /// <summary>Some queries at a time, with the keys that they see: masks and scores of a long text would take gigabytes.</summary>
    private void InBlocks(int layer, long before, Tensor q, Tensor k, Tensor v, Tensor into)
    {
        long heads = config.Softcap is null ? 1 : config.NumAttentionHeads; // a mask is one for all, capped scores are each head's
        long queries = q.shape[0], rows = Math.Clamp(mostScores / (heads * k.shape[0]), 1, queries);
        for (long from = 0; from < queries; from += rows)
        {
            using DisposeScope block = NewDisposeScope();
            long count = Math.Min(rows, queries - from), at = before + from, first = texts.FirstSeen(layer, at + 1);
            Tensor some = Attend(q.narrow(0, from, count), Keys(k), Keys(v), texts.MaskOf(layer, at, count), isCausal: false);
            into.narrow(0, from, count).copy_(some);

            Tensor Keys(Tensor x) => x.narrow(0, first, at + count - first);
        }
    }

    /// <summary>[keys, kvHeads, headDim] of what a text follows and of its own first tokens.</summary>
    private Tensor Seen(int layer, int text, long own, Tensor rows, bool isKey)
    {
        List<Tensor> parts = [rows.narrow(0, texts.Begins[text], own)];
        BackboneText at = texts.Texts[text];
        while (at.After is { } parent)
        {
            at = texts.Texts[parent];
            parts.Add(rows.narrow(0, texts.Begins[parent], at.Tokens.Length));
        }
        if (at.Prefix is { } prefix) parts.Add(isKey ? prefix.Layers[layer].K : prefix.Layers[layer].V);
        parts.Reverse();
        return parts.Count == 1 ? parts[0] : cat(parts, 0);
    }

    /// <summary>softmax(q kᵀ · scale) v over what the mask lets through.</summary>
    /// <param name="q">[n, heads, headDim].</param>
    /// <param name="k">[keys, kvHeads, headDim].</param>
    /// <param name="v">The same.</param>
    /// <param name="mask">[n, keys]; null for none.</param>
    /// <param name="isCausal">Without a mask: whether a query sees itself and all before it, or all keys.</param>
    /// <returns>[n, heads · headDim].</returns>
    private Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? mask, bool isCausal)
    {
        double usual = 1 / Math.Sqrt(config.HeadSize), scale = config.AttentionScale ?? usual;
        long n = q.shape[0], kvHeads = config.KeyValueHeads;
        Tensor queries = q.reshape(n, kvHeads, _queriesEach, config.HeadSize).permute(1, 2, 0, 3); // [kvHeads, queriesEach, n, headDim]
        Tensor keys = k.permute(1, 0, 2), values = v.permute(1, 0, 2); // [kvHeads, keys, headDim]
        Tensor found = config.Softcap is { } cap ? Capped(queries.Times(scale), keys, values, mask, cap)
            : scaled_dot_product_attention(scale == usual ? queries : queries.Times(scale / usual), Each(keys), Each(values),
                attn_mask: mask, is_casual: isCausal);
        return found.permute(2, 0, 1, 3).reshape(n, config.NumAttentionHeads * config.HeadSize);

        Tensor Each(Tensor x) => x.unsqueeze(1).expand(-1, _queriesEach, -1, -1);
    }

    /// <summary>The same with capped scores.</summary>
    private Tensor Capped(Tensor q, Tensor k, Tensor v, Tensor? mask, double cap)
    {
        long queries = q.shape[2], keys = k.shape[1];
        Tensor scores = Together(q, config.HeadSize).matmul(k.transpose(1, 2)).Divide(cap).tanh_().Multiply(cap);
        Tensor wide = Apart(compute == ScalarType.Float64 ? scores : scores.to(ScalarType.Float32), keys);
        if (mask is not null) wide = wide.Fill(mask.logical_not(), double.NegativeInfinity);
        return Apart(Together(wide.softmax(-1).to(compute), keys).matmul(v), config.HeadSize);

        Tensor Together(Tensor x, long size) => x.reshape(config.KeyValueHeads, _queriesEach * queries, size);

        Tensor Apart(Tensor x, long size) => x.view(config.KeyValueHeads, _queriesEach, queries, size);
    }
}
