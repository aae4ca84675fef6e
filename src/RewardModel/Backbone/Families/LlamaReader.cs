using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone.Families;

/// <summary>Llama 1 to 3.3. Source: transformers, models/llama.</summary>
internal sealed class LlamaReader(string path, JsonElement root) : DecoderReader(path, root)
{
    public const string Name = "llama";

    protected override DecoderConfig Read()
    {
        RequireText("hidden_act", ["silu", "swish"], isRequired: false);
        DecoderConfig config = Common(new FamilyDefaults());
        bool hasBias = Flag("attention_bias");
        return config with
        {
            Rotary = Rotary(config, new RopeRules()),
            HasInputBias = hasBias,
            HasOutputBias = hasBias,
            HasFeedForwardBias = Flag("mlp_bias"),
        };
    }
}
