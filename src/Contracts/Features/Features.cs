namespace ArmoFlow.Contracts.Features;

/// <summary>Extracts f(x⊕y) and f(x) of every conversation not extracted before.</summary>
public sealed record ExtractFeatures : StepCommand;

/// <summary>
/// One shard of the conversations, for whichever worker is free; the one who completes the last asks for the rest of the step.
/// </summary>
public sealed record ExtractShard : StepCommand
{
    /// <summary>The queue that any worker for features reads.</summary>
    public const string Queue = "feature-shards";

    /// <summary>The step's key, under which its plan is kept.</summary>
    public required string StepKey { get; init; }

    /// <summary>The plan that the shard is of, as the step's row names it.</summary>
    public string Plan { get; init; } = "";

    /// <summary>Which part, from 0.</summary>
    public required int Shard { get; init; }
}

/// <summary>Outputs: features (Parquet: where each conversation's and each prompt's vector lies), features-report (JSON).</summary>
public sealed record FeaturesExtracted : StepCompleted;
