using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone.Families;

/// <summary>
/// OLMo 2: norms on what comes out of each block, none on what goes in, and queries and keys normalised over all heads at once.
/// Source: transformers, models/olmo2.
/// </summary>
internal sealed class Olmo2Reader(string path, JsonElement root) : DecoderReader(path, root)
{
    public const string Name = "olmo2";

    protected override DecoderConfig Read()
    {
        RequireText("hidden_act", ["silu", "swish"], isRequired: false);
        DecoderConfig config = Common(new FamilyDefaults { RmsNormEps = 1e-5, PaddingToken = 1 });
        bool hasBias = Flag("attention_bias");
        return config with
        {
            Rotary = Rotary(config, new RopeRules()),
            Norms = NormPlaces.Outputs,
            NormRoundsLast = true,
            HeadNorm = HeadNorm.AllHeads,
            HasInputBias = hasBias,
            HasOutputBias = hasBias,
        };
    }
}
