namespace ArmoFlow.Contracts;

/// <summary>An immutable artifact, known by the sha256 of its bytes (64 lower-case hex digits).</summary>
public sealed record ArtifactRef(string Sha256, long Bytes);

/// <summary>Identity of a step's work: hash of its name, version, parameters and inputs. Same key, same output.</summary>
public readonly record struct StepKey(string Value)
{
    public override string ToString() => Value;
}

/// <summary>The names that steps give their artifacts.</summary>
public static class ArtifactNames
{
    public const string Conversations = "conversations", Ratings = "ratings", Preferences = "preferences", Benchmark = "benchmark",
        IngestionReport = "ingestion-report";
    public const string Features = "features", FeaturesReport = "features-report";

    /// <summary>Of an evaluation alone: the features' report of the stored model, which names its backbone.</summary>
    public const string ModelFeaturesReport = "model-features-report";
    public const string Regression = "regression", RegressionReport = "regression-report";
    public const string Decorrelation = "decorrelation", DecorrelationReport = "decorrelation-report";
    public const string Gating = "gating", GatingReport = "gating-report";
    public const string Evaluation = "evaluation", BenchmarkOutcomes = "benchmark-outcomes", Report = "report";

    /// <summary>The parts of a model; a run that evaluates a stored one has them from the run that made it.</summary>
    public static readonly IReadOnlyList<string> ModelParts =
        [Regression, RegressionReport, Decorrelation, DecorrelationReport, Gating, GatingReport];
}
