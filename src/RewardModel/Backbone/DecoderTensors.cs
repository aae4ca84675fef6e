using System.Globalization;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>What the tensors of a decoder-only model are called in a checkpoint, and their shapes.</summary>
internal static class DecoderTensors
{
    public const string Embedding = "model.embed_tokens.weight", FinalNorm = "model.norm.weight";

    public const string Queries = "self_attn.q_proj", Keys = "self_attn.k_proj", Values = "self_attn.v_proj",
        AttentionOutput = "self_attn.o_proj", FusedInputs = "self_attn.qkv_proj", QueryNorm = "self_attn.q_norm.weight",
        KeyNorm = "self_attn.k_norm.weight", Gate = "mlp.gate_proj", Up = "mlp.up_proj", FusedGateUp = "mlp.gate_up_proj",
        Down = "mlp.down_proj";

    public static string Layer(int layer) => string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");

    /// <summary>The norms of a layer, in the order in which it applies them; null where it has none.</summary>
    public static (string? AttentionIn, string? AttentionOut, string? FeedForwardIn, string? FeedForwardOut) Norms(NormPlaces places)
    {
        const string Input = "input_layernorm.weight", AfterAttention = "post_attention_layernorm.weight",
            BeforeFeedForward = "pre_feedforward_layernorm.weight", AfterFeedForward = "post_feedforward_layernorm.weight";
        return places switch
        {
            NormPlaces.Inputs => (Input, null, AfterAttention, null), // which is what transformers calls the one before the feed-forward
            NormPlaces.Outputs => (null, AfterAttention, null, AfterFeedForward),
            _ => (Input, AfterAttention, BeforeFeedForward, AfterFeedForward),
        };
    }

    /// <summary>Every tensor of the architecture with its shape.</summary>
    public static IReadOnlyDictionary<string, long[]> Shapes(DecoderConfig config)
    {
        Dictionary<string, long[]> shapes =
            new() { [Embedding] = [config.VocabSize, config.HiddenSize], [FinalNorm] = [config.HiddenSize] };
        for (int layer = 0; layer < config.NumHiddenLayers; layer++)
        {
            foreach ((string name, long[] shape) in OfLayer(config)) shapes[Layer(layer) + name] = shape;
        }
        return shapes;
    }

    /// <remarks>In this order: the weights of the sample backbone are drawn in it.</remarks>
    private static IEnumerable<(string Name, long[] Shape)> OfLayer(DecoderConfig config)
    {
        long d = config.HiddenSize, q = (long)config.NumAttentionHeads * config.HeadSize, kv = (long)config.KeyValueHeads * config.HeadSize;
        (string? attentionIn, string? attentionOut, string? feedForwardIn, string? feedForwardOut) = Norms(config.Norms);
        foreach (string? norm in new[] { feedForwardOut, feedForwardIn, attentionOut, attentionIn })
        {
            if (norm is not null) yield return (norm, [d]);
        }
        (string Name, long Out, long In, bool HasBias)[] projections = config.IsFused
            ? [(FusedInputs, q + 2 * kv, d, config.HasInputBias)]
            : [(Queries, q, d, config.HasInputBias), (Values, kv, d, config.HasInputBias), (Keys, kv, d, config.HasInputBias)];
        long m = config.IntermediateSize;
        bool bias = config.HasFeedForwardBias;
        projections =
        [
            .. projections,
            (AttentionOutput, d, q, config.HasOutputBias),
            .. config.IsFused ? [(FusedGateUp, 2 * m, d, bias)] : new[] { (Up, m, d, bias), (Gate, m, d, bias) },
            (Down, d, m, bias),
        ];
        foreach ((string name, long rows, long columns, bool hasBias) in projections)
        {
            yield return (name + ".weight", [rows, columns]);
            if (hasBias) yield return (name + ".bias", [rows]);
        }
        if (config.HeadNorm == HeadNorm.None) yield break;
        bool each = config.HeadNorm == HeadNorm.EachHead;
        yield return (QueryNorm, [each ? config.HeadSize : q]);
        yield return (KeyNorm, [each ? config.HeadSize : kv]);
    }
}
