using System.Text.Json;
using System.Text.Json.Serialization;
using ArmoFlow.RewardModel.Files;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>The keys of a Hugging Face Llama config.json that decide a hidden state.</summary>
public sealed record LlamaConfig
{
    public required int HiddenSize { get; init; }
    public required int IntermediateSize { get; init; }
    public required int NumHiddenLayers { get; init; }
    public required int NumAttentionHeads { get; init; }
    public int? NumKeyValueHeads { get; init; }
    public int? HeadDim { get; init; }
    public required int VocabSize { get; init; }
    public double RmsNormEps { get; init; } = 1e-6;
    public double RopeTheta { get; init; } = 10000;
    public RopeScaling? RopeScaling { get; init; }
    public string HiddenAct { get; init; } = "silu";
    public string ModelType { get; init; } = "";
    public int MaxPositionEmbeddings { get; init; } = 2048;
    public bool AttentionBias { get; init; }
    public bool MlpBias { get; init; }

    [JsonIgnore] public int KeyValueHeads => NumKeyValueHeads ?? NumAttentionHeads;
    [JsonIgnore] public int HeadSize => HeadDim ?? HiddenSize / NumAttentionHeads;

    [JsonIgnore]
    public long Parameters => (long)VocabSize * HiddenSize + (long)NumHiddenLayers
        * (2L * HiddenSize * NumAttentionHeads * HeadSize + 2L * HiddenSize * KeyValueHeads * HeadSize + 3L * HiddenSize * IntermediateSize);

    private static readonly JsonSerializerOptions SnakeCase = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <exception cref="InvalidInputException">The file is missing, not JSON, or describes an architecture that we do not compute.</exception>
    public static LlamaConfig Load(string path)
    {
        byte[] text = InputFile.ReadSmall(path, "the backbone's config.json", "Point 'backbone.path' at a Hugging Face model folder.");
        LlamaConfig config;
        try { config = JsonSerializer.Deserialize<LlamaConfig>(text, SnakeCase)!; }
        catch (JsonException e) { throw new InvalidInputException(path, $"no usable configuration ({e.Message.Split('.')[0]})", "a Hugging Face Llama config.json", "Fetch the file again."); }
        if (config.ModelType != "llama") throw Unsupported(path, $"model_type '{config.ModelType}'", "'llama'");
        if (config.HiddenAct != "silu") throw Unsupported(path, $"hidden_act '{config.HiddenAct}'", "'silu'");
        if (config.AttentionBias || config.MlpBias) throw Unsupported(path, "biased projections", "attention_bias and mlp_bias false");
        if (config.RopeScaling is { } scaling && scaling.Kind is not ("llama3" or "default" or "linear"))
            throw Unsupported(path, $"rope scaling '{scaling.Kind}'", "none, 'linear' or 'llama3'");
        if (config.NumAttentionHeads <= 0 || config.KeyValueHeads <= 0 || config.NumAttentionHeads % config.KeyValueHeads != 0 || config.HeadSize % 2 != 0)
            throw Unsupported(path, $"{config.NumAttentionHeads} heads over {config.KeyValueHeads} key-value heads of size {config.HeadSize}", "a whole number of query heads for each key-value head, of even size");
        return config;
    }

    private static InvalidInputException Unsupported(string path, string found, string expected) =>
        new(path, found, expected, "Only decoder-only Llama checkpoints are supported; use one of these as the backbone.");
}

public sealed record RopeScaling
{
    public string? RopeType { get; init; }
    public string? Type { get; init; }
    public double Factor { get; init; } = 1;
    public double LowFreqFactor { get; init; } = 1;
    public double HighFreqFactor { get; init; } = 4;
    public int OriginalMaxPositionEmbeddings { get; init; } = 8192;
    [JsonIgnore] public string Kind => RopeType ?? Type ?? "default";
}
