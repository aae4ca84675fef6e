using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Ingestion;
using ArmoFlow.Contracts.Regression;

namespace ArmoFlow.Contracts;

/// <summary>
/// The steps of a run, in their order, one row each. Queues, the run's states, the saga's commands, the workers' consumers and who
/// made an artifact follow from here.
/// </summary>
public static class StepCatalogue
{
    /// <summary>All steps, in the order in which a run takes them.</summary>
    public static readonly IReadOnlyList<Step> All =
    [
        new Step<IngestData, DataIngested>(StepNames.Ingestion, 3, "Ingesting",
            ArtifactNames.Conversations, ArtifactNames.Ratings, ArtifactNames.Preferences, ArtifactNames.Benchmark,
            ArtifactNames.IngestionReport),
        new Step<ExtractFeatures, FeaturesExtracted>(StepNames.Features, 2, "ExtractingFeatures",
            ArtifactNames.Features, ArtifactNames.FeaturesReport),
        new Step<FitRegression, RegressionFitted>(StepNames.Regression, 1, "FittingRegression",
            ArtifactNames.Regression, ArtifactNames.RegressionReport),
        new Step<FitDecorrelation, DecorrelationFitted>(StepNames.Decorrelation, 1, "FittingDecorrelation",
            ArtifactNames.Decorrelation, ArtifactNames.DecorrelationReport),
        new Step<TrainGating, GatingTrained>(StepNames.Gating, 2, "TrainingGating",
            ArtifactNames.Gating, ArtifactNames.GatingReport),
        new Step<EvaluateModel, ModelEvaluated>(StepNames.Evaluation, 3, "Evaluating",
            ArtifactNames.Evaluation, ArtifactNames.BenchmarkOutcomes, ArtifactNames.Report),
    ];

    /// <summary>The steps' names, in their order.</summary>
    public static readonly IReadOnlyList<string> Names = [.. All.Select(s => s.Name)];

    /// <summary>A step by its name.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There is no such step.</exception>
    public static Step Find(string name) =>
        All.FirstOrDefault(s => s.Name == name) ?? throw new ArgumentOutOfRangeException(nameof(name), name, "not a step");

    /// <summary>The step that a command asks for.</summary>
    /// <typeparam name="TCommand">The command's type.</typeparam>
    public static Step Of<TCommand>() where TCommand : StepCommand => All.Single(s => s.Command == typeof(TCommand));

    /// <summary>The step that makes an artifact.</summary>
    /// <param name="artifact">The artifact's name.</param>
    /// <exception cref="ArgumentOutOfRangeException">No step makes it.</exception>
    public static string MakerOf(string artifact)
    {
        // taken from the run that trained the model, as its regression is
        if (artifact == ArtifactNames.ModelFeaturesReport) return StepNames.Regression;
        return All.FirstOrDefault(s => s.Outputs.Contains(artifact))?.Name
            ?? throw new ArgumentOutOfRangeException(nameof(artifact), artifact, "no step makes it");
    }
}
