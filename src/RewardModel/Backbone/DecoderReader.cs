using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>What a family's configuration class of transformers takes for a key that config.json leaves out.</summary>
internal sealed record FamilyDefaults
{
    /// <summary>Key-value heads; as many as query heads if null, which is also what a null in config.json means then.</summary>
    public int? KeyValueHeads { get; init; }

    /// <summary>The dimension of a head; the hidden size over the query heads if null.</summary>
    public int? HeadSize { get; init; }

    public double RmsNormEps { get; init; } = 1e-6;

    public int MaxPositionEmbeddings { get; init; } = 2048;

    public int? PaddingToken { get; init; }
}

/// <summary>
/// What the readers of all decoder-only families share. A family's own reader says which keys its class of transformers reads, and
/// with which defaults; a key that the class ignores is ignored.
/// </summary>
internal abstract partial class DecoderReader(string path, JsonElement root) : ConfigReader(path, root)
{
    protected const string Sliding = "sliding_attention", FullAttention = "full_attention";

    /// <summary>Reads the keys of the family.</summary>
    protected abstract DecoderConfig Read();

    /// <summary>Reads a config.json by a family's reader.</summary>
    /// <param name="path">The file.</param>
    /// <param name="reader">Makes the reader of a file's contents.</param>
    /// <exception cref="InvalidInputException">The file is missing, not JSON, or describes what is not computed.</exception>
    public static DecoderConfig Read(string path, Func<string, JsonElement, DecoderReader> reader) =>
        Open(path, root => reader(path, root).Checked());

    private DecoderConfig Checked()
    {
        RequireObject();
        RequireNothing("quantization_config", "weights in float32, float16 or bfloat16");
        DecoderConfig config = Read();
        if (config.NumAttentionHeads % config.KeyValueHeads != 0 || config.HeadSize <= 0 || config.HeadSize % 2 != 0)
        {
            throw Unsupported($"{config.NumAttentionHeads} heads over {config.KeyValueHeads} key-value heads of size {config.HeadSize}",
                "a whole number of query heads for each key-value head, of even size");
        }
        return config;
    }

    /// <summary>The keys that all families have.</summary>
    protected DecoderConfig Common(FamilyDefaults defaults)
    {
        int heads = Count("num_attention_heads"), hidden = Count("hidden_size");
        int headSize = WholeOr("head_dim", defaults.HeadSize) ?? hidden / heads;
        return new DecoderConfig
        {
            HiddenSize = hidden,
            IntermediateSize = Count("intermediate_size"),
            NumHiddenLayers = Count("num_hidden_layers"),
            NumAttentionHeads = heads,
            KeyValueHeads = WholeOr("num_key_value_heads", defaults.KeyValueHeads) ?? heads,
            HeadSize = headSize,
            VocabSize = Count("vocab_size"),
            RmsNormEps = Positive(Root, "rms_norm_eps") ?? defaults.RmsNormEps,
            MaxPositionEmbeddings = Whole(Root, "max_position_embeddings") ?? defaults.MaxPositionEmbeddings,
            PaddingToken = Padding(defaults.PaddingToken),
            Rotary = new RotaryEmbedding { Size = headSize },
        };
    }

    /// <summary>An id; null where the key is null, the default where it is left out. Some files have −1 for none.</summary>
    private int? Padding(int? byDefault)
    {
        if (!Root.TryGetProperty("pad_token_id", out JsonElement value)) return byDefault;
        if (value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int id)) return id < 0 ? null : id;
        return value.ValueKind == JsonValueKind.Null ? null : throw Unusable("pad_token_id", value, "a token's id");
    }

    /// <summary>
    /// A whole number above 0; the default where the key is left out, and null where it is null, which a family must know.
    /// </summary>
    private int? WholeOr(string name, int? byDefault)
    {
        if (!Root.TryGetProperty(name, out JsonElement value)) return byDefault;
        if (value.ValueKind == JsonValueKind.Null && byDefault is not null) throw Unusable(name, value, "a whole number above 0");
        return Whole(Root, name);
    }

    /// <summary>The window: null for none, the default where the key is left out.</summary>
    protected int? WindowOr(int? byDefault) =>
        Root.TryGetProperty("sliding_window", out _) ? Whole(Root, "sliding_window") : byDefault;

    /// <summary>One window, or none, for all layers.</summary>
    protected static IReadOnlyList<int?> InAllLayers(int? window, int layers) =>
        window is null ? [] : [.. Enumerable.Repeat(window, layers)];

    /// <summary>Which layers have a window: by layer_types where config.json has them, else as the family says.</summary>
    /// <param name="window">The window.</param>
    /// <param name="layers">How many layers there are.</param>
    /// <param name="hasWindow">Whether a layer has one, by its number from 0.</param>
    protected IReadOnlyList<int?> InSomeLayers(int? window, int layers, Func<int, bool> hasWindow)
    {
        bool[] have = LayerTypes(layers) ?? [.. Enumerable.Range(0, layers).Select(hasWindow)];
        if (!have.Contains(true)) return [];
        if (window is not { } tokens) throw Unsupported($"layer_types with '{Sliding}' and no window", "a sliding_window that is in use");
        return [.. have.Select(has => has ? tokens : (int?)null)];
    }

    /// <summary>Layer by layer whether layer_types names a window; null where there are none.</summary>
    private bool[]? LayerTypes(int layers)
    {
        if (Member(Root, "layer_types") is not { } types) return null;
        if (types.ValueKind != JsonValueKind.Array) throw Unusable("layer_types", types, "a list");
        bool[] have = [.. types.EnumerateArray().Select(type => type.ValueKind == JsonValueKind.String ? type.GetString() : null)
            .Select(type => type switch
            {
                Sliding => true,
                FullAttention => false,
                _ => throw Unsupported($"layer_types with '{type}'", $"'{FullAttention}' or '{Sliding}'"),
            })];
        return have.Length == layers ? have : throw Unsupported($"{have.Length} layer_types", $"one for each of {layers} layers");
    }

    /// <summary>A key that is true, false or left out.</summary>
    protected bool Flag(string name) => Member(Root, name) is { } value && value.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Unusable(name, value, "true or false"),
    };

    /// <summary>A number above 0: the default where the key is left out, null where it is null.</summary>
    protected double? PositiveOr(string name, double? byDefault) => Root.TryGetProperty(name, out _) ? Positive(Root, name) : byDefault;
}
