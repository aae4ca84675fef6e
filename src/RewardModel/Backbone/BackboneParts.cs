using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// What of a backbone's folder is small: its configuration and tokenizer, checked against each other and the weights' shapes.
/// </summary>
/// <param name="Config">The configuration.</param>
/// <param name="Tokenizer">The tokenizer, which has the template's tokens and no id beyond the embedding.</param>
/// <param name="Template">What was found of a chat template, in a few words.</param>
public sealed record BackboneParts(BackboneConfig Config, ChatTokenizer Tokenizer, string Template)
{
    /// <summary>Opens a folder; reads no weights.</summary>
    /// <param name="folder">The backbone's.</param>
    /// <param name="allowsSpecials">See <see cref="ChatTokenizer.AllowsSpecials"/>.</param>
    /// <exception cref="InvalidInputException">A part is missing, damaged, of a kind that is not computed, or does not fit the
    /// others.</exception>
    public static BackboneParts Open(string folder, bool allowsSpecials = false)
    {
        BackboneConfig config = Backbones.Config(folder);
        string template = Backbones.Of(folder).RequireTemplate(folder);
        ChatTokenizer tokenizer = Backbones.Tokenizer(folder, allowsSpecials);
        using Checkpoint checkpoint = new(folder);
        checkpoint.Require(config);
        return new BackboneParts(config, tokenizer, template);
    }
}
