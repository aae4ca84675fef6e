using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone.Families;

/// <summary>Mistral: a Llama whose layers all have a window, unless config.json says that there is none. Source: transformers,
/// models/mistral.</summary>
internal sealed class MistralReader(string path, JsonElement root) : DecoderReader(path, root)
{
    public const string Name = "mistral";

    protected override DecoderConfig Read()
    {
        RequireText("hidden_act", ["silu", "swish"], isRequired: false);
        DecoderConfig config = Common(new FamilyDefaults { KeyValueHeads = 8, MaxPositionEmbeddings = 131072 });
        return config with
        {
            Rotary = Rotary(config, new RopeRules()),
            Windows = InAllLayers(WindowOr(4096), config.NumHiddenLayers),
        };
    }
}
