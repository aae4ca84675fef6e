using System.Text.Json.Serialization;
using ArmoFlow.Contracts.Runs;

namespace ArmoFlow.Contracts.Specs;

/// <summary>Gates of promotion; each that is not null must hold. A gate is a member here, and a row of <see cref="Gate.All"/>.</summary>
public record PromotionSpec
{
    /// <summary>
    /// How many people must ask for a promotion before it is made; left out of the text where 1, which keeps older specs' digests.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public int? Approvals { get; init; }

    /// <summary>
    /// The alias that a version means from its making on, if all gates hold and nobody need ask; null where somebody asks.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Automatic { get; init; }

    /// <summary>Lowest benchmark score.</summary>
    public double? MinimumScore { get; init; }

    /// <summary>Lowest accuracy on held-out pairs.</summary>
    public double? MinimumHeldOut { get; init; }

    /// <summary>How much lower than the version it replaces a section may be.</summary>
    public double? SectionLoss { get; init; }

    /// <summary>Largest absolute correlation of the final score with verbosity.</summary>
    public double? VerbosityCorrelation { get; init; }

    /// <summary>Objective → lowest held-out R².</summary>
    public Dictionary<string, double> Objectives { get; init; } = [];

    /// <summary>True where it neither bounds a figure nor says who promotes.</summary>
    public bool AsksForNothing() =>
        Approvals is null && Automatic is null && Objectives.Count == 0 && Gate.All.All(gate => gate.Limit(this) is null);

    /// <summary>True for a name that an alias can have; a number is a version.</summary>
    public static bool IsAlias(string text) =>
        text.Length is > 0 and <= 64
            && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_')
            && !int.TryParse(text.TrimStart('v'), out _);

    /// <summary>What holds where both do: of each figure the stricter, and the objectives of both.</summary>
    public static PromotionSpec? Stricter(PromotionSpec? one, PromotionSpec? other)
    {
        if (one is null || other is null) return one ?? other;
        Dictionary<string, double> floors = new(one.Objectives);
        foreach ((string objective, double floor) in other.Objectives)
            floors[objective] = floors.TryGetValue(objective, out double known) ? Math.Max(known, floor) : floor;
        PromotionSpec both = new()
        {
            Approvals = one.Approvals > other.Approvals ? one.Approvals : other.Approvals ?? one.Approvals,
            Automatic = one.Automatic ?? other.Automatic,
            Objectives = floors,
        };
        return Gate.All.Aggregate(both, (spec, gate) => gate.Set(spec, gate.Stricter(gate.Limit(one), gate.Limit(other))));
    }
}

/// <summary>A bound on one figure: how it is set, and what it asks of a run.</summary>
/// <param name="key">Its key in a spec.</param>
/// <param name="limit">The bound that a spec sets.</param>
/// <param name="set">The spec with another bound.</param>
public sealed class Gate(string key, Func<PromotionSpec, double?> limit, Func<PromotionSpec, double?, PromotionSpec> set)
{
    /// <summary>All bounds but those on single objectives.</summary>
    public static IReadOnlyList<Gate> All { get; } =
    [
        new("minimumScore", s => s.MinimumScore, (s, limit) => s with { MinimumScore = limit })
        {
            Figure = f => f.Gate?.Benchmark?.Score,
            Says = "benchmark score",
            IsFloor = true,
        },
        new("minimumHeldOut", s => s.MinimumHeldOut, (s, limit) => s with { MinimumHeldOut = limit })
        {
            Figure = f => f.Gate?.HeldOutAccuracy,
            Says = "held-out accuracy",
            IsFloor = true,
        },
        new("sectionLoss", s => s.SectionLoss, (s, limit) => s with { SectionLoss = limit }), // of two runs
        new("verbosityCorrelation", s => s.VerbosityCorrelation, (s, limit) => s with { VerbosityCorrelation = limit })
        {
            Figure = f => f.Gating?.Health?.VerbosityCorrelation is { } r ? Math.Abs(r) : null,
            Says = "|correlation of the final score with verbosity|",
        },
    ];

    /// <summary>Its key in a spec, and its name in verdicts.</summary>
    public string Key => key;

    /// <summary>The candidate's figure that is held against the bound; null where the gate compares two runs.</summary>
    public Func<RunFigures, double?>? Figure { get; init; }

    /// <summary>What the figure is, for a reader.</summary>
    public string Says { get; init; } = "";

    /// <summary>True where the figure must reach the bound; false where it must not exceed it.</summary>
    public bool IsFloor { get; init; }

    /// <summary>The bound that a spec sets, from 0 to 1; null for none.</summary>
    public double? Limit(PromotionSpec spec) => limit(spec);

    /// <summary>The spec with another bound.</summary>
    public PromotionSpec Set(PromotionSpec spec, double? bound) => set(spec, bound);

    /// <summary>The bound that is harder to meet; null where neither is set.</summary>
    public double? Stricter(double? one, double? other)
    {
        if (one is not { } x || other is not { } y) return one ?? other;
        return IsFloor ? Math.Max(x, y) : Math.Min(x, y);
    }
}

/// <summary>What a model asks of each of its versions, whatever their specs say: a spec may only add to it.</summary>
public sealed record PolicySpec : PromotionSpec
{
    /// <summary>Names of the keys or users who may promote; empty for whoever has the scope.</summary>
    public IReadOnlyList<string> Promoters { get; init; } = [];

    /// <summary>The alias that a new version gets by a rule, without anybody asking; null where somebody must ask.</summary>
    /// <param name="policy">The model's policy, if it has one: what it says of rules decides.</param>
    /// <param name="spec">What the version's own spec says.</param>
    public static string? RuleOf(PolicySpec? policy, PromotionSpec? spec)
    {
        bool needsPeople = Stricter(policy, spec)?.Approvals > 1;
        if (needsPeople) return null;
        return policy?.Automatic ?? (policy?.Promoters.Count > 0 ? null : spec?.Automatic);
    }
}
