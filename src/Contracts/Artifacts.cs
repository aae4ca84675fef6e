namespace ArmoFlow.Contracts;

/// <summary>An immutable artifact, known by the sha256 of its bytes (64 lower-case hex digits).</summary>
public sealed record ArtifactRef(string Sha256, long Bytes);

/// <summary>Identity of a step's work: hash of its name, version, parameters and inputs. Same key, same output.</summary>
public readonly record struct StepKey(string Value)
{
    /// <summary>The hash.</summary>
    public override string ToString() => Value;
}

/// <summary>The names that steps give their artifacts.</summary>
public static class ArtifactNames
{
    /// <summary>Tables of the canonical data set.</summary>
    public const string Conversations = "conversations", Ratings = "ratings", Preferences = "preferences", Benchmark = "benchmark";

    /// <summary>What was read, kept and dropped, by source.</summary>
    public const string IngestionReport = "ingestion-report";

    /// <summary>Where each feature lies, and how they were computed.</summary>
    public const string Features = "features", FeaturesReport = "features-report";

    /// <summary>Of an evaluation alone: the features' report of the stored model, which names its backbone.</summary>
    public const string ModelFeaturesReport = "model-features-report";

    /// <summary>Weights of the objectives, and how well they fit.</summary>
    public const string Regression = "regression", RegressionReport = "regression-report";

    /// <summary>Penalties and the matrix that takes length bias out, and how they were found.</summary>
    public const string Decorrelation = "decorrelation", DecorrelationReport = "decorrelation-report";

    /// <summary>The gate, and how its training went.</summary>
    public const string Gating = "gating", GatingReport = "gating-report";

    /// <summary>Figures of the evaluation, outcomes of benchmark pairs, and the report for a reader.</summary>
    public const string Evaluation = "evaluation", BenchmarkOutcomes = "benchmark-outcomes", Report = "report";

    /// <summary>The parts of a model; a run that evaluates a stored one has them from the run that made it.</summary>
    public static readonly IReadOnlyList<string> ModelParts =
        [Regression, RegressionReport, Decorrelation, DecorrelationReport, Gating, GatingReport];
}
