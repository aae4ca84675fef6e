using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// What of a backbone's folder is small: its configuration and tokenizer, checked against each other and the weights' shapes.
/// </summary>
/// <param name="Config">The configuration.</param>
/// <param name="Tokenizer">The tokenizer, which has the template's tokens and no id beyond the embedding.</param>
public sealed record BackboneParts(BackboneConfig Config, ChatTokenizer Tokenizer)
{
    /// <summary>Opens a folder; reads no weights.</summary>
    /// <param name="folder">The backbone's.</param>
    /// <param name="options">How conversations become tokens; as usual if null.</param>
    /// <exception cref="InvalidInputException">A part is missing, damaged, of a kind that is not computed, or does not fit the
    /// others.</exception>
    public static BackboneParts Open(string folder, EncodingOptions? options = null)
    {
        BackboneConfig config = Backbones.Config(folder);
        ChatTokenizer tokenizer = Backbones.Tokenizer(folder, options);
        using Checkpoint checkpoint = new(folder);
        checkpoint.Require(config);
        return new BackboneParts(config, tokenizer);
    }
}
