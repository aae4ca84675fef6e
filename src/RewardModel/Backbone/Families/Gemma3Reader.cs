using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone.Families;

/// <summary>
/// Gemma 3 for text: as Gemma 2 without the cap, with each head's queries and keys normalised; every sixth layer sees all, and the
/// layers with a window are turned by another base. Source: transformers, models/gemma3.
/// </summary>
internal sealed class Gemma3Reader(string path, JsonElement root) : Gemma2Reader(path, root)
{
    public new const string Name = "gemma3_text";
    private const double Theta = 1e6, WindowTheta = 1e4;
    private const int UsualPattern = 6;

    protected override DecoderConfig Read()
    {
        RequireNothing("attn_logit_softcapping", "none");
        DecoderConfig config = Gemma(maxPositionEmbeddings: 131072);
        int pattern = Whole(Root, "sliding_window_pattern") ?? Whole(Root, "_sliding_window_pattern") ?? UsualPattern;
        (RotaryEmbedding all, RotaryEmbedding window) = Turns(config);
        return config with
        {
            HeadNorm = HeadNorm.EachHead,
            Rotary = all,
            WindowRotary = window,
            Windows = InSomeLayers(Window(), config.NumHiddenLayers, layer => (layer + 1) % pattern != 0),
        };
    }

    /// <summary>From version 5 of transformers on the parameters stand by layer type.</summary>
    private (RotaryEmbedding All, RotaryEmbedding Window) Turns(DecoderConfig config)
    {
        RopeRules all = new() { Theta = Theta }, window = new() { Theta = WindowTheta };
        if (Dictionary("rope_parameters") is not { } byType)
        {
            RotaryEmbedding local = config.Rotary with { Theta = Positive(Root, "rope_local_base_freq") ?? WindowTheta, HasTheta = true };
            return (Rotary(config, all), local);
        }
        foreach (string key in new[] { "rope_theta", "rope_scaling", "rope_local_base_freq" })
            RequireNothing(key, "rope_parameters alone");
        return (Of(FullAttention, all), Of(Sliding, window));

        RotaryEmbedding Of(string type, RopeRules rules)
        {
            if (byType.ValueKind == JsonValueKind.Object && Member(byType, type) is { ValueKind: JsonValueKind.Object } parameters)
                return Rotary(config, $"rope_parameters.{type}", parameters, rules);
            throw Missing($"rope_parameters.{type}");
        }
    }
}
