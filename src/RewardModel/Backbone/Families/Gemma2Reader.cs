using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone.Families;

/// <summary>
/// Gemma 2: scaled embeddings, norms of 1 + weight before and after each block, GELU by tanh, capped attention, and a window in every
/// other layer, the first among them. Source: transformers, models/gemma2.
/// </summary>
internal class Gemma2Reader(string path, JsonElement root) : DecoderReader(path, root)
{
    public const string Name = "gemma2";

    protected override DecoderConfig Read()
    {
        const double UsualCap = 50;
        DecoderConfig config = Gemma(maxPositionEmbeddings: 8192);
        return config with
        {
            Rotary = Rotary(config, new RopeRules()),
            Windows = InSomeLayers(Window(), config.NumHiddenLayers, layer => layer % 2 == 0),
            Softcap = PositiveOr("attn_logit_softcapping", UsualCap),
        };
    }

    /// <summary>What Gemma's families have in common.</summary>
    protected DecoderConfig Gemma(int maxPositionEmbeddings)
    {
        const int UsualHead = 256, UsualScalar = 256;
        RequireText("hidden_activation", ["gelu_pytorch_tanh"], isRequired: false);
        if (Flag("use_bidirectional_attention")) throw Unsupported("use_bidirectional_attention true", "a causal model");
        bool hasBias = Flag("attention_bias");
        DecoderConfig config = Common(new FamilyDefaults
        {
            KeyValueHeads = 4,
            HeadSize = UsualHead,
            MaxPositionEmbeddings = maxPositionEmbeddings,
            PaddingToken = 0,
        });
        return config with
        {
            Norms = NormPlaces.Both,
            NormAddsOne = true,
            Activation = Activation.GeluTanh,
            ScalesEmbeddings = true,
            AttentionScale = 1 / Math.Sqrt(PositiveOr("query_pre_attn_scalar", UsualScalar) ?? throw Missing("query_pre_attn_scalar")),
            HasInputBias = hasBias,
            HasOutputBias = hasBias,
        };
    }

    /// <summary>The window of the layers that have one.</summary>
    protected int Window() => WindowOr(4096) ?? throw Missing("sliding_window");
}
