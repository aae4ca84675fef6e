using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn.functional;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// Attention of packed texts, text by text: what one yields does not depend on its neighbours. Each key-value head serves as many
/// consecutive query heads and is not repeated in memory.
/// </summary>
internal sealed class PackedAttention(DecoderConfig config, ScalarType compute, PackedTexts texts)
{
    private const long MostScores = 1 << 22; // of a block of capped scores: some 16 MB, two or three times over
    private readonly int _queriesEach = config.NumAttentionHeads / config.KeyValueHeads;

    /// <summary>Attention of all tokens.</summary>
    /// <param name="layer">The layer, from 0.</param>
    /// <param name="q">[rows, heads, headDim].</param>
    /// <param name="k">[rows, kvHeads, headDim].</param>
    /// <param name="v">The same.</param>
    /// <returns>[rows, heads · headDim].</returns>
    public Tensor OfAll(int layer, Tensor q, Tensor k, Tensor v)
    {
        Tensor attended = zeros([q.shape[0], q.shape[1] * q.shape[2]], compute, q.device);
        for (int text = 0; text < texts.Texts.Count; text++)
        {
            using DisposeScope scope = NewDisposeScope();
            long begin = texts.Begins[text], length = texts.Texts[text].Tokens.Length;
            Tensor found = Attend(q.narrow(0, begin, length), Seen(layer, text, length, k, isKey: true),
                Seen(layer, text, length, v, isKey: false), texts.MaskOf(text, layer), isCausal: true);
            attended.narrow(0, begin, length).copy_(found);
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
    /// <param name="isCausal">Where there is no mask: whether a query sees itself and all before it, or all keys.</param>
    /// <returns>[n, heads · headDim].</returns>
    private Tensor Attend(Tensor q, Tensor k, Tensor v, Tensor? mask, bool isCausal)
    {
        double usual = 1 / Math.Sqrt(config.HeadSize), scale = config.AttentionScale ?? usual;
        long n = q.shape[0], kvHeads = config.KeyValueHeads;
        Tensor queries = q.reshape(n, kvHeads, _queriesEach, config.HeadSize).permute(1, 2, 0, 3); // [kvHeads, queriesEach, n, headDim]
        Tensor keys = k.permute(1, 0, 2), values = v.permute(1, 0, 2); // [kvHeads, keys, headDim]
        Tensor found;
        if (config.Softcap is { } cap) found = AttendCapped(queries.Times(scale), keys, values, mask, isCausal, cap);
        else
        {
            if (scale != usual) queries = queries.Times(scale / usual);
            found = scaled_dot_product_attention(queries, Each(keys), Each(values), attn_mask: mask, is_casual: mask is null && isCausal);
        }
        return found.permute(2, 0, 1, 3).reshape(n, config.NumAttentionHeads * config.HeadSize);

        Tensor Each(Tensor x) => x.unsqueeze(1).expand(-1, _queriesEach, -1, -1);
    }

    /// <summary>The same with capped scores, for some queries at a time: scores of a long text would take gigabytes.</summary>
    private Tensor AttendCapped(Tensor q, Tensor k, Tensor v, Tensor? mask, bool isCausal, double cap)
    {
        long queries = q.shape[2], keys = k.shape[1], rows = Math.Clamp(MostScores / (config.NumAttentionHeads * keys), 1, queries);
        bool hidesLater = mask is null && isCausal;
        List<Tensor> attended = [];
        for (long from = 0; from < queries; from += rows)
        {
            using DisposeScope block = NewDisposeScope();
            long count = Math.Min(rows, queries - from), seen = hidesLater ? from + count : keys;
            Tensor some = q.narrow(2, from, count).reshape(config.KeyValueHeads, _queriesEach * count, config.HeadSize);
            Tensor scores = some.matmul(k.narrow(1, 0, seen).transpose(1, 2)).Divide(cap).tanh_().Multiply(cap);
            Tensor wide = (compute == ScalarType.Float64 ? scores : scores.to(ScalarType.Float32))
                .view(config.KeyValueHeads, _queriesEach, count, seen);
            if (mask is not null) wide = wide.Fill(mask.narrow(0, from, count).logical_not(), double.NegativeInfinity);
            if (hidesLater) wide = wide.Fill(ones(count, seen, ScalarType.Bool, q.device).triu(from + 1), double.NegativeInfinity);
            Tensor shares = wide.softmax(-1).to(compute).reshape(config.KeyValueHeads, _queriesEach * count, seen);
            attended.Add(shares.matmul(v.narrow(1, 0, seen))
                .view(config.KeyValueHeads, _queriesEach, count, config.HeadSize)
                .MoveToOuterDisposeScope());
        }
        return attended.Count == 1 ? attended[0] : cat(attended, 2);
    }
}
