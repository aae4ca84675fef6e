using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Specs;

/// <summary>What a user asks for: data, backbone, parameters. Paths are relative to <see cref="Folder"/>.</summary>
public sealed record RunSpec
{
    /// <summary>The run's name, and that of the model that it makes.</summary>
    public required string Name { get; init; }

    /// <summary>Where the spec lies, absolute.</summary>
    public required string Folder { get; init; }

    /// <summary>
    /// A model of the registry that is evaluated instead of training one: NAME, NAME@ALIAS or NAME@VERSION; a run settles on a
    /// version. Null for training.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Model { get; init; }

    /// <summary>Words to find runs by.</summary>
    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>Empty for the paper's.</summary>
    public IReadOnlyList<string> Objectives { get; init; } = [];

    /// <summary>The frozen language model, and how it is computed.</summary>
    public required BackboneSpec Backbone { get; init; }

    /// <summary>Sources of rated responses, which the regression is fitted to.</summary>
    public required IReadOnlyList<SourceSpec> Ratings { get; init; }

    /// <summary>Sources of preference pairs, which the gate is trained on.</summary>
    public required IReadOnlyList<SourceSpec> Preferences { get; init; }

    /// <summary>What the model is scored on; null for nothing.</summary>
    public BenchmarkSpec? Benchmark { get; init; }

    /// <summary>How the objectives are fitted.</summary>
    public RegressionSpec Regression { get; init; } = new();

    /// <summary>How length bias is taken out.</summary>
    public DecorrelationSpec Decorrelation { get; init; } = new();

    /// <summary>How the gate is trained.</summary>
    public GatingSpec Gating { get; init; } = new();

    /// <summary>What the gate is compared with.</summary>
    public EvaluationSpec Evaluation { get; init; } = new();

    /// <summary>How long steps and the run may take.</summary>
    public LimitsSpec Limits { get; init; } = new();

    /// <summary>
    /// What a model of this spec must show before it is promoted; null for nothing. Left out of the text where null, which keeps
    /// older specs' digests.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public PromotionSpec? Promotion { get; init; }

    /// <summary>Ids of conversations that the run leaves out wherever they occur; settled when it is submitted (armoflow forget).</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? Forgotten { get; init; }

    /// <summary>
    /// Hashes of files that the run leaves out, whatever they are called; settled when it is submitted (armoflow forget).
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public IReadOnlyList<string>? ForgottenFiles { get; init; }

    /// <summary>Who is told when an evaluation of a stored model falls below its gates.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public AlertsSpec? Alerts { get; init; }

    /// <summary>When a policy runs this spec anew; of no meaning to a run.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public RetrainSpec? Retrain { get; init; }
}

/// <summary>When a policy runs the spec anew. Without newRows and newShare any new file is enough.</summary>
public sealed record RetrainSpec
{
    /// <summary>So many new rows are enough; null for no bound.</summary>
    public long? NewRows { get; init; }

    /// <summary>New rows over those that the run before had read.</summary>
    public double? NewShare { get; init; }

    /// <summary>Hours that must lie between two runs; 0 for none.</summary>
    public double AtMostEveryHours { get; init; }

    /// <summary>Only at these times (five fields, UTC), for what has arrived before; null for at once.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Cron { get; init; }

    /// <summary>How long nothing more must have arrived.</summary>
    public double DebounceSeconds { get; init; } = 60;
}

/// <summary>Webhook: an address (http or https) that alerts are posted to.</summary>
public sealed record AlertsSpec(string Webhook);

/// <summary>How long a step and a run may take before they fail.</summary>
public sealed record LimitsSpec
{
    /// <summary>Hours that a step may take.</summary>
    public double StepHours { get; init; } = 24;

    /// <summary>Hours that the run may take.</summary>
    public double RunHours { get; init; } = 7 * 24;
}

/// <summary>Dtype: auto, f32 or bf16.</summary>
public sealed record BackboneSpec(string Path, string Dtype = "auto", int MaxTokens = 2048)
{
    /// <summary>True where a control token's spelling in a text is that token, as in Hugging Face's tokenizers; else it is text.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool AllowsSpecials { get; init; }

    /// <summary>The day that a chat template with a date in it writes; null for the usual one, 2024-07-26.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public DateOnly? TemplateDate { get; init; }

    /// <summary>
    /// True where a response's features are those of the token that a sequence-classification head of transformers pools, the last one
    /// that is not padding; else of the last token.
    /// </summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)]
    public bool PoolsAsClassifier { get; init; }

    /// <summary>That of the model that is evaluated, until the run has settled on one.</summary>
    public static BackboneSpec OfModel { get; } = new("");
}

/// <summary>Files of one kind, and how their rows are read.</summary>
public sealed record SourceSpec
{
    /// <summary>The source's name in reports.</summary>
    public required string Name { get; init; }

    /// <summary>Paths and patterns, relative to the spec, or dataset:NAME.</summary>
    public required IReadOnlyList<string> Files { get; init; }

    /// <summary>A format's name, such as ultrafeedback or pairs.</summary>
    public required string Format { get; init; }

    /// <summary>
    /// Largest share of unusable rows (empty responses, identical sides) that are left out and counted; beyond it the run fails.
    /// </summary>
    public required double MaxDroppedShare { get; init; }

    /// <summary>Columns of the merged layout to leave unread.</summary>
    public IReadOnlyList<string> Ignore { get; init; } = [];

    /// <summary>For format 'columns': where each objective's rating stands, and its range.</summary>
    public IReadOnlyList<ColumnSpec> Columns { get; init; } = [];
}

/// <summary>A column of ratings.</summary>
/// <param name="Objective">What it rates.</param>
/// <param name="Column">The column's name.</param>
/// <param name="Min">The lowest rating there can be.</param>
/// <param name="Max">The highest.</param>
public sealed record ColumnSpec(string Objective, string Column, double Min, double Max);

/// <summary>Pairs in subsets, each of which has a better response.</summary>
public sealed record BenchmarkSpec
{
    /// <summary>Paths and patterns, relative to the spec, or dataset:NAME.</summary>
    public required IReadOnlyList<string> Files { get; init; }

    /// <summary>The format's name.</summary>
    public required string Format { get; init; }

    /// <summary>Largest share of unusable rows that are left out and counted; beyond it the run fails.</summary>
    public required double MaxDroppedShare { get; init; }

    /// <summary>Sections of one's own: section → subset → weight; null for RewardBench's.</summary>
    public Dictionary<string, Dictionary<string, double>>? Sections { get; init; }
}

/// <summary>Ridge regression, one for each objective.</summary>
public sealed record RegressionSpec
{
    /// <summary>Empty for the default grid.</summary>
    public IReadOnlyList<double> Alphas { get; init; } = [];
}

/// <summary>The penalty on each objective that makes its correlation with verbosity vanish.</summary>
public sealed record DecorrelationSpec
{
    /// <summary>The objective that stands for length.</summary>
    public string Verbosity { get; init; } = "helpsteer-verbosity";

    /// <summary>Name of the preference source whose responses are the reference set; null for all.</summary>
    public string? Reference { get; init; }

    /// <summary>spearman or pearson.</summary>
    public string Metric { get; init; } = "spearman";
}

/// <summary>The gate: a network from a prompt to a weight for each objective.</summary>
public sealed record GatingSpec
{
    /// <summary>Optimiser steps.</summary>
    public int Steps { get; init; } = 10_000;

    /// <summary>Pairs in a step.</summary>
    public int BatchSize { get; init; } = 1024;

    /// <summary>Of the optimiser.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>β, which scales the score in the loss.</summary>
    public double Beta { get; init; } = 100;

    /// <summary>T, which divides the gate's outputs before the softmax.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Widths of the hidden layers.</summary>
    public IReadOnlyList<int> Hidden { get; init; } = [1024, 1024, 1024];

    /// <summary>Of the initial weights and of the order of the pairs.</summary>
    public long Seed { get; init; } = 17;
}

/// <summary>What the gate is compared with on the same pairs.</summary>
public sealed record EvaluationSpec
{
    /// <summary>Any of bradley-terry and mean.</summary>
    public IReadOnlyList<string> Baselines { get; init; } = ["bradley-terry", "mean"];
}
