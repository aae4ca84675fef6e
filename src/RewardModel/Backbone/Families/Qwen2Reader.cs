using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone.Families;

/// <summary>
/// Qwen 2 and 2.5: queries, keys and values have a bias, attention's output has none, whatever config.json says. The upper layers have
/// a window if one is asked for. Source: transformers, models/qwen2.
/// </summary>
internal class Qwen2Reader(string path, JsonElement root) : DecoderReader(path, root)
{
    public const string Name = "qwen2";

    protected override DecoderConfig Read() =>
        Qwen(new FamilyDefaults { KeyValueHeads = 32, MaxPositionEmbeddings = 32768 }) with { HasInputBias = true };

    /// <summary>What its families have in common.</summary>
    protected DecoderConfig Qwen(FamilyDefaults defaults)
    {
        const int UsualFirst = 28, UsualWindow = 4096;
        RequireText("hidden_act", ["silu", "swish"], isRequired: false);
        DecoderConfig config = Common(defaults);
        int? window = Flag("use_sliding_window") ? WindowOr(UsualWindow) : null;
        int first = WholeFromZero("max_window_layers") ?? UsualFirst;
        return config with
        {
            Rotary = Rotary(config, new RopeRules()),
            Windows = InSomeLayers(window, config.NumHiddenLayers, layer => window is not null && layer >= first),
        };
    }
}
