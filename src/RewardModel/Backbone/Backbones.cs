using System.Text.Json;
using ArmoFlow.RewardModel.Backbone.Families;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.RewardModel.Text.Templates;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>All that is an architecture's own. What a folder is known by, <see cref="Checkpoint.Digest"/>, is common to all.</summary>
/// <param name="ModelType">What config.json calls it in 'model_type'.</param>
/// <param name="ReadConfig">Reads and checks a config.json.</param>
public sealed record BackboneFamily(string ModelType, Func<string, DecoderConfig> ReadConfig);

/// <summary>The architectures that are computed here, one a row.</summary>
public static class Backbones
{
    private static readonly BackboneFamily[] Families =
    [
        Row(LlamaReader.Name, (path, root) => new LlamaReader(path, root)),
        Row(MistralReader.Name, (path, root) => new MistralReader(path, root)),
        Row(Qwen2Reader.Name, (path, root) => new Qwen2Reader(path, root)),
        Row(Qwen3Reader.Name, (path, root) => new Qwen3Reader(path, root)),
        Row(Gemma2Reader.Name, (path, root) => new Gemma2Reader(path, root)),
        Row(Gemma3Reader.Name, (path, root) => new Gemma3Reader(path, root)),
        Row(Olmo2Reader.Name, (path, root) => new Olmo2Reader(path, root)),
        Row(Phi3Reader.Name, (path, root) => new Phi3Reader(path, root)),
    ];

    private static BackboneFamily Row(string modelType, Func<string, JsonElement, DecoderReader> reader) =>
        new(modelType, path => DecoderReader.Read(path, reader));

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
    /// <param name="options">How conversations become tokens; as usual if null.</param>
    /// <exception cref="InvalidInputException">It is missing, damaged, or does not fit the configuration.</exception>
    public static ChatTokenizer Tokenizer(string folder, EncodingOptions? options = null)
    {
        options ??= EncodingOptions.Usual;
        BackboneConfig config = Config(folder);
        ChatTemplate template = ChatTemplate.Open(folder, options.TemplateDate);
        return ChatTokenizer.Load(Path.Combine(folder, "tokenizer.json"), template, options, config.PaddingToken, !config.DependsOnLength)
            .RequireTemplateTokens()
            .RequireWithin(config.VocabSize);
    }

    /// <summary>Loads a folder's weights.</summary>
    /// <param name="folder">config.json and safetensors.</param>
    /// <param name="compute">float32, bfloat16, or float64 (for references).</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="kept">How weights are kept on the CPU, if memory allows.</param>
    /// <exception cref="InvalidInputException">The folder does not hold a checkpoint of an architecture that is computed.</exception>
    public static IBackbone Load(
        string folder, ScalarType compute, Device device, WeightsKept kept = WeightsKept.ReadyToCompute) =>
        new DecoderModel(folder, Of(folder).ReadConfig(ConfigPath(folder)), compute, device, kept);

    private static string ConfigPath(string folder) => Path.Combine(folder, "config.json");
}
