using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone.Families;

/// <summary>
/// Phi-3, Phi-3.5 and Phi-4: projections that are one matrix, heads that may be turned in part, and factors for short and for long
/// texts. Source: transformers, models/phi3.
/// </summary>
internal sealed class Phi3Reader(string path, JsonElement root) : DecoderReader(path, root)
{
    public const string Name = "phi3";

    protected override DecoderConfig Read()
    {
        RequireText("hidden_act", ["silu", "swish"], isRequired: false);
        DecoderConfig config = Common(new FamilyDefaults { RmsNormEps = 1e-5, MaxPositionEmbeddings = 4096, PaddingToken = 32000 });
        RopeRules rules = new()
        {
            AllowsPartial = true,
            OriginalContext = 4096,
            Aliases = new Dictionary<string, string> { ["su"] = "longrope", ["yarn"] = "longrope" }, // as its configuration class has it
        };
        return config with
        {
            Rotary = Rotary(config, rules),
            Windows = InAllLayers(WindowOr(null), config.NumHiddenLayers),
            IsFused = true,
        };
    }
}
