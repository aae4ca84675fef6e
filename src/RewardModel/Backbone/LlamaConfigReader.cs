using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>
/// Reads config.json as transformers does, in the layout of its versions before 5 (rope_theta, rope_scaling) and from 5 on
/// (rope_parameters). A key that changes what LlamaModel of transformers computes is read, or held to the value for which it
/// changes nothing; what that class ignores is ignored. Source: transformers, models/llama and modeling_rope_utils.
/// </summary>
internal sealed class LlamaConfigReader : ConfigReader
{
    // What each rope type of transformers reads, or passes over, beside its own keys.
    private static readonly HashSet<string> RopeKeys = new(StringComparer.Ordinal)
    {
        "rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
        "partial_rotary_factor", "attention_factor", "beta_fast", "beta_slow", "short_factor", "long_factor", "mscale",
        "mscale_all_dim", "truncate", "finetuned",
    };

    private LlamaConfigReader(string path, JsonElement root) : base(path, root)
    {
    }

    /// <summary>Reads a config.json.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="InvalidInputException">The file is missing, not JSON, or describes what we do not compute.</exception>
    public static LlamaConfig Read(string path) => Open(path, root => new LlamaConfigReader(path, root).Read());

    private LlamaConfig Read()
    {
        RequireObject();
        RequireText("model_type", ["llama"], isRequired: true);
        RequireText("hidden_act", ["silu", "swish"], isRequired: false);
        RequireFalse("attention_bias");
        RequireFalse("mlp_bias");
        RequireNothing("quantization_config", "weights in float32, float16 or bfloat16");
        LlamaConfig config = new()
        {
            HiddenSize = Count("hidden_size"),
            IntermediateSize = Count("intermediate_size"),
            NumHiddenLayers = Count("num_hidden_layers"),
            NumAttentionHeads = Count("num_attention_heads"),
            NumKeyValueHeads = Whole(Root, "num_key_value_heads"),
            HeadDim = Whole(Root, "head_dim"),
            VocabSize = Count("vocab_size"),
            RmsNormEps = Positive(Root, "rms_norm_eps") ?? 1e-6,
            MaxPositionEmbeddings = Whole(Root, "max_position_embeddings") ?? 2048,
            Rotary = Rotary(),
        };
        bool areWhole = config.NumAttentionHeads % config.KeyValueHeads == 0 && config.HeadSize > 0 && config.HeadSize % 2 == 0;
        if (areWhole) return config;
        throw Unsupported($"{config.NumAttentionHeads} heads over {config.KeyValueHeads} key-value heads of size {config.HeadSize}",
            "a whole number of query heads for each key-value head, of even size");
    }

    private RotaryEmbedding Rotary()
    {
        RequireWholeRotation(Root, "partial_rotary_factor");
        (string name, JsonElement parameters)? dictionary = RopeDictionary();
        double? outer = Positive(Root, "rope_theta");
        if (dictionary is not { } rope)
            return new RotaryEmbedding { Theta = outer ?? RotaryEmbedding.DefaultTheta, HasTheta = outer is not null };

        foreach (JsonProperty key in rope.parameters.EnumerateObject())
        {
            string full = $"{rope.name}.{key.Name}";
            if (key.Value.ValueKind == JsonValueKind.Object)
                throw Unsupported($"{full}: parameters by layer type", "one set of rope parameters");
            if (!RopeKeys.Contains(key.Name)) throw Unsupported($"the unknown key {full}", "transformers' rope parameters");
        }
        RequireWholeRotation(rope.parameters, "partial_rotary_factor", rope.name);
        double? inner = Positive(rope.parameters, "rope_theta", rope.name);
        if (inner is not null && outer is not null && inner != outer)
            throw Conflict("rope_theta", outer.Value, $"{rope.name}.rope_theta", inner.Value);
        RotaryKind kind = KindOf(rope.name, rope.parameters);
        RotaryEmbedding plain =
            new() { Theta = inner ?? outer ?? RotaryEmbedding.DefaultTheta, HasTheta = (inner ?? outer) is not null, Kind = kind };
        return kind switch
        {
            RotaryKind.Default => plain,
            RotaryKind.Linear => plain with { Factor = Need(rope.name, rope.parameters, "factor") },
            _ => Llama3(plain, rope.name, rope.parameters),
        };
    }

    /// <summary>rope_parameters of the newer layout, or rope_scaling of the older; both only where they agree.</summary>
    private (string Name, JsonElement Parameters)? RopeDictionary()
    {
        JsonElement? newer = Dictionary("rope_parameters"), older = Dictionary("rope_scaling");
        if (newer is { } a && older is { } b && !JsonElement.DeepEquals(a, b))
            throw Unsupported("rope_parameters and rope_scaling that differ", "one of them, or both alike");
        if (newer is { } parameters) return ("rope_parameters", parameters);
        return older is { } scaling ? ("rope_scaling", scaling) : null;
    }

    private JsonElement? Dictionary(string name)
    {
        if (Member(Root, name) is not { } value) return null;
        return value.ValueKind == JsonValueKind.Object ? value : throw Unusable(name, value, "an object");
    }

    private RotaryKind KindOf(string name, JsonElement parameters)
    {
        string? kind = Text(parameters, "rope_type", name), type = Text(parameters, "type", name);
        if (kind is not null && type is not null && kind != type)
            throw Unsupported($"{name} with rope_type '{kind}' and type '{type}'", "one of them");
        return (kind ?? type ?? "default") switch
        {
            "default" => RotaryKind.Default,
            "linear" => RotaryKind.Linear,
            "llama3" => RotaryKind.Llama3,
            string other => throw Unsupported($"{name}.rope_type '{other}'", "'default', 'linear' or 'llama3'"),
        };
    }

    private RotaryEmbedding Llama3(RotaryEmbedding plain, string name, JsonElement parameters)
    {
        const string Original = "original_max_position_embeddings";
        int original = Whole(parameters, Original, name) ?? throw Missing($"{name}.{Original}");
        int? outer = Whole(Root, Original);
        if (outer is { } other && other != original) throw Conflict(Original, other, $"{name}.{Original}", original);
        RotaryEmbedding scaled = plain with
        {
            Factor = Need(name, parameters, "factor"),
            LowFreqFactor = Need(name, parameters, "low_freq_factor"),
            HighFreqFactor = Need(name, parameters, "high_freq_factor"),
            OriginalMaxPositionEmbeddings = original,
        };
        if (scaled.LowFreqFactor < scaled.HighFreqFactor) return scaled;
        throw Unsupported(FormattableString.Invariant(
            $"{name} with low_freq_factor {scaled.LowFreqFactor} and high_freq_factor {scaled.HighFreqFactor}"),
            "a low one below the high one");
    }

    private void RequireWholeRotation(JsonElement from, string name, string? place = null)
    {
        if (Positive(from, name, place) is { } factor && factor != 1)
            throw Unsupported(FormattableString.Invariant($"{Full(place, name)} {factor}"), "1: all dimensions of a head are turned");
    }
}
