using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone;

/// <content>
/// Positions, in the layout of transformers before version 5 (rope_theta, rope_scaling) and from 5 on (rope_parameters).
/// Source: transformers, modeling_rope_utils.
/// </content>
internal abstract partial class DecoderReader
{
    private const string OriginalContext = "original_max_position_embeddings", Partial = "partial_rotary_factor";

    // What each rope type of transformers reads, or passes over, beside its own keys.
    private static readonly HashSet<string> RopeKeys = new(StringComparer.Ordinal)
    {
        "rope_type", "type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor", OriginalContext, Partial,
        "attention_factor", "beta_fast", "beta_slow", "short_factor", "long_factor", "mscale", "mscale_all_dim", "truncate", "finetuned",
    };

    /// <summary>What a family says of its positions.</summary>
    protected sealed record RopeRules
    {
        /// <summary>The base where config.json names none.</summary>
        public double Theta { get; init; } = RotaryEmbedding.DefaultTheta;

        /// <summary>Heads may be turned in part.</summary>
        public bool AllowsPartial { get; init; }

        /// <summary>longrope: the original context where config.json names none.</summary>
        public int? OriginalContext { get; init; }

        /// <summary>Other names of rope types.</summary>
        public IReadOnlyDictionary<string, string> Aliases { get; init; } = new Dictionary<string, string>();
    }

    /// <summary>How positions turn all layers alike.</summary>
    protected RotaryEmbedding Rotary(DecoderConfig config, RopeRules rules)
    {
        double? outer = Positive(Root, "rope_theta");
        double share = Share(Root, null, rules);
        if (RopeDictionary() is not { } rope) return Plain(config, rules.Theta, outer, share);
        double? inner = Positive(rope.Parameters, "rope_theta", rope.Name);
        if (inner is not null && outer is not null && inner != outer)
            throw Conflict("rope_theta", outer.Value, $"{rope.Name}.rope_theta", inner.Value);
        return Stretched(config, rope.Name, rope.Parameters, rules, inner ?? outer, share);
    }

    /// <summary>How positions turn the layers of a type, whose parameters stand apart.</summary>
    protected RotaryEmbedding Rotary(DecoderConfig config, string name, JsonElement parameters, RopeRules rules) =>
        Stretched(config, name, parameters, rules, Positive(parameters, "rope_theta", name), 1);

    private static RotaryEmbedding Plain(DecoderConfig config, double byDefault, double? theta, double share) =>
        new() { Theta = theta ?? byDefault, HasTheta = theta is not null, Size = (int)(config.HeadSize * share) };

    private RotaryEmbedding Stretched(
        DecoderConfig config, string name, JsonElement parameters, RopeRules rules, double? theta, double share)
    {
        foreach (JsonProperty key in parameters.EnumerateObject())
        {
            string full = $"{name}.{key.Name}";
            if (key.Value.ValueKind == JsonValueKind.Object)
                throw Unsupported($"{full}: parameters by layer type", "one set of rope parameters");
            if (!RopeKeys.Contains(key.Name)) throw Unsupported($"the unknown key {full}", "transformers' rope parameters");
        }
        double inner = Share(parameters, name, rules);
        if (share != 1 && inner != 1 && share != inner) throw Conflict(Partial, share, $"{name}.{Partial}", inner);
        RotaryKind kind = KindOf(name, parameters, rules);
        RotaryEmbedding plain = Plain(config, rules.Theta, theta, inner != 1 ? inner : share) with { Kind = kind };
        return plain.Kind switch
        {
            RotaryKind.Default => plain,
            RotaryKind.Linear => plain with { Factor = Need(name, parameters, "factor") },
            RotaryKind.Dynamic => Dynamic(config, plain, name, parameters),
            RotaryKind.Yarn => Yarn(config, plain, name, parameters),
            RotaryKind.LongRope => LongRope(config, plain, name, parameters, rules),
            _ => Llama3(plain, name, parameters),
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

    protected JsonElement? Dictionary(string name)
    {
        if (Member(Root, name) is not { } value) return null;
        return value.ValueKind == JsonValueKind.Object ? value : throw Unusable(name, value, "an object");
    }

    private RotaryKind KindOf(string name, JsonElement parameters, RopeRules rules)
    {
        string? kind = Text(parameters, "rope_type", name), type = Text(parameters, "type", name);
        if (kind is not null && type is not null && kind != type)
            throw Unsupported($"{name} with rope_type '{kind}' and type '{type}'", "one of them");
        string given = kind ?? type ?? "default";
        return rules.Aliases.GetValueOrDefault(given, given) switch
        {
            "default" => RotaryKind.Default,
            "linear" => RotaryKind.Linear,
            "dynamic" => RotaryKind.Dynamic,
            "yarn" => RotaryKind.Yarn,
            "longrope" => RotaryKind.LongRope,
            "llama3" => RotaryKind.Llama3,
            _ => throw Unsupported($"{name}.rope_type '{given}'", "'default', 'linear', 'dynamic', 'yarn', 'longrope' or 'llama3'"),
        };
    }

    /// <summary>
    /// The base grows from the longest text that the model was made for; versions of transformers differ about another original one.
    /// </summary>
    private RotaryEmbedding Dynamic(DecoderConfig config, RotaryEmbedding plain, string name, JsonElement parameters)
    {
        int original = Whole(parameters, OriginalContext, name) ?? config.MaxPositionEmbeddings;
        if (original != config.MaxPositionEmbeddings)
            throw Conflict("max_position_embeddings", config.MaxPositionEmbeddings, $"{name}.{OriginalContext}", original);
        return plain with { Factor = Need(name, parameters, "factor"), OriginalMaxPositionEmbeddings = original };
    }

    private RotaryEmbedding Yarn(DecoderConfig config, RotaryEmbedding plain, string name, JsonElement parameters)
    {
        RotaryEmbedding yarn = plain with
        {
            Factor = Need(name, parameters, "factor"),
            OriginalMaxPositionEmbeddings = Whole(parameters, OriginalContext, name) ?? config.MaxPositionEmbeddings,
            BetaFast = Positive(parameters, "beta_fast", name) ?? 32,
            BetaSlow = Positive(parameters, "beta_slow", name) ?? 1,
            Truncates = Member(parameters, "truncate") is not { } truncate || truncate.ValueKind switch
            {
                JsonValueKind.True => true,
                JsonValueKind.False => false,
                _ => throw Unusable($"{name}.truncate", truncate, "true or false"),
            },
        };
        if (yarn.BetaFast < yarn.BetaSlow)
        {
            throw Unsupported(FormattableString.Invariant($"{name} with beta_fast {yarn.BetaFast} below beta_slow {yarn.BetaSlow}"),
                "a fast one above the slow one");
        }
        double? mscale = Positive(parameters, "mscale", name), allDimensions = Positive(parameters, "mscale_all_dim", name);
        double byFactor = mscale is { } one && allDimensions is { } all ? Scale(one) / Scale(all) : Scale(1);
        return yarn with { AttentionFactor = Positive(parameters, "attention_factor", name) ?? byFactor };

        double Scale(double by) => yarn.Factor <= 1 ? 1 : 0.1 * by * Math.Log(yarn.Factor) + 1;
    }

    private RotaryEmbedding LongRope(DecoderConfig config, RotaryEmbedding plain, string name, JsonElement parameters, RopeRules rules)
    {
        int? top = Whole(Root, OriginalContext), own = Whole(parameters, OriginalContext, name);
        if (top is null && own is { } inner && rules.OriginalContext is { } usual && inner != usual)
            throw Conflict($"{name}.{OriginalContext}", inner, $"the default of {OriginalContext}", usual);
        int original = top ?? own ?? rules.OriginalContext ?? throw Missing(OriginalContext); // in this order, as transformers has it
        double byContext = (double)config.MaxPositionEmbeddings / original;
        // transformers' versions differ in which of the two counts
        if (Positive(parameters, "factor", name) is { } given && given != byContext)
            throw Conflict($"{name}.factor", given, $"max_position_embeddings / {OriginalContext}", byContext);
        double byFactor = byContext <= 1 ? 1 : Math.Sqrt(1 + Math.Log(byContext) / Math.Log(original));
        return plain with
        {
            Factor = byContext,
            OriginalMaxPositionEmbeddings = original,
            ShortFactors = Factors(name, parameters, "short_factor", plain.Size / 2),
            LongFactors = Factors(name, parameters, "long_factor", plain.Size / 2),
            AttentionFactor = Positive(parameters, "attention_factor", name) ?? byFactor,
        };
    }

    private double[] Factors(string name, JsonElement parameters, string key, int count)
    {
        JsonElement list = Member(parameters, key) ?? throw Missing($"{name}.{key}");
        if (list.ValueKind != JsonValueKind.Array) throw Unusable($"{name}.{key}", list, "a list of numbers");
        double[] factors = [.. list.EnumerateArray().Select(item =>
            item.ValueKind == JsonValueKind.Number && item.TryGetDouble(out double factor) && factor > 0 && double.IsFinite(factor)
                ? factor
                : throw Unusable($"{name}.{key}", item, "numbers above 0"))];
        return factors.Length == count ? factors
            : throw Unsupported($"{name}.{key} of {factors.Length} numbers", $"{count}, one for each pair of dimensions that is turned");
    }

    private RotaryEmbedding Llama3(RotaryEmbedding plain, string name, JsonElement parameters)
    {
        int original = Whole(parameters, OriginalContext, name) ?? throw Missing($"{name}.{OriginalContext}");
        int? outer = Whole(Root, OriginalContext);
        if (outer is { } other && other != original) throw Conflict(OriginalContext, other, $"{name}.{OriginalContext}", original);
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

    /// <summary>The share of a head's dimensions that is turned.</summary>
    private double Share(JsonElement from, string? place, RopeRules rules)
    {
        if (Positive(from, Partial, place) is not { } share || share == 1) return 1;
        if (rules.AllowsPartial && share < 1) return share;
        throw Unsupported(FormattableString.Invariant($"{Full(place, Partial)} {share}"),
            rules.AllowsPartial ? "at most 1" : "1: all dimensions of a head are turned");
    }
}
