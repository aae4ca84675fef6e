using ArmoFlow.RewardModel.Text;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>All that is an architecture's own. What a folder is known by, <see cref="Checkpoint.Digest"/>, is common to all.</summary>
/// <param name="ModelType">What config.json calls it in 'model_type'.</param>
/// <param name="Template">The name of its chat template, as reports and feature keys have it.</param>
/// <param name="ReadConfig">Reads and checks a config.json.</param>
/// <param name="OpenTokenizer">Opens a tokenizer.json; the second argument is <see cref="LlamaTokenizer.AllowsSpecials"/>.</param>
/// <param name="RequireTemplate">
/// Refuses a folder that asks for another chat template; says in a few words what was found.
/// </param>
/// <param name="Load">Loads a folder's weights, to be computed with in a type on a device.</param>
public sealed record BackboneFamily(
    string ModelType,
    string Template,
    Func<string, BackboneConfig> ReadConfig,
    Func<string, bool, LlamaTokenizer> OpenTokenizer,
    Func<string, string> RequireTemplate,
    Func<string, ScalarType, Device, IBackbone> Load);

/// <summary>The architectures that are computed here, one a row.</summary>
public static class Backbones
{
    private static readonly BackboneFamily[] Families =
    [
        new BackboneFamily(
            "llama",
            ChatTemplate.Name,
            LlamaConfig.Load,
            LlamaTokenizer.Load,
            ChatTemplate.Require,
            (folder, type, device) => new LlamaModel(folder, type, device)),
    ];

    /// <summary>The row of a folder, by its config.json.</summary>
    /// <param name="folder">The backbone's.</param>
    /// <exception cref="InvalidInputException">config.json is missing, damaged, or of an architecture that is not computed.</exception>
    public static BackboneFamily Of(string folder)
    {
        string name = ConfigReader.ModelType(ConfigPath(folder), [.. Families.Select(family => family.ModelType)]);
        return Families.Single(family => family.ModelType == name);
    }

    /// <summary>A folder's configuration.</summary>
    /// <param name="folder">The backbone's.</param>
    /// <exception cref="InvalidInputException">As of <see cref="Of"/>.</exception>
    public static BackboneConfig Config(string folder) => Of(folder).ReadConfig(ConfigPath(folder));

    /// <summary>A folder's tokenizer, which has the template's tokens and no id beyond the embedding.</summary>
    /// <param name="folder">The backbone's.</param>
    /// <param name="allowsSpecials">See <see cref="LlamaTokenizer.AllowsSpecials"/>.</param>
    /// <exception cref="InvalidInputException">It is missing, damaged, or does not fit the configuration.</exception>
    public static LlamaTokenizer Tokenizer(string folder, bool allowsSpecials = false) =>
        Of(folder).OpenTokenizer(Path.Combine(folder, "tokenizer.json"), allowsSpecials)
            .RequireTemplateTokens()
            .RequireWithin(Config(folder).VocabSize);

    /// <summary>Loads a folder's weights.</summary>
    /// <param name="folder">config.json and safetensors.</param>
    /// <param name="compute">float32, bfloat16, or float64 (for references).</param>
    /// <param name="device">Where to compute.</param>
    /// <exception cref="InvalidInputException">The folder does not hold a checkpoint of an architecture that is computed.</exception>
    public static IBackbone Load(string folder, ScalarType compute, Device device) => Of(folder).Load(folder, compute, device);

    private static string ConfigPath(string folder) => Path.Combine(folder, "config.json");
}
