using System.Text.Json;
using System.Text.Json.Nodes;
using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Regression;

namespace ArmoFlow.Contracts.Runs;

/// <summary>A run's figures as the steps wrote them, for readers in code. A step that has not ended has none.</summary>
/// <param name="Features">Of feature extraction.</param>
/// <param name="Regression">Of the regression.</param>
/// <param name="Decorrelation">Of the decorrelation.</param>
/// <param name="Gating">Of the gate's training.</param>
/// <param name="Evaluation">Of the evaluation.</param>
public sealed record RunFigures(
    FeaturesFigures? Features,
    RegressionReport? Regression,
    DecorrelationReport? Decorrelation,
    GatingReport? Gating,
    EvaluationReport? Evaluation)
{
    /// <summary>The gate's results on held-out pairs and on the benchmark.</summary>
    public ScorerFigures? Gate => Evaluation?.Scorers.GetValueOrDefault(EvaluationReport.Gate);

    /// <summary>Reads a run's figures by step. What an older run did not measure is null or 0, as its member says.</summary>
    public static RunFigures Of(JsonObject metrics) => new(
        Read<FeaturesFigures>(metrics, StepNames.Features),
        Read<RegressionReport>(metrics, StepNames.Regression),
        Read<DecorrelationReport>(metrics, StepNames.Decorrelation),
        Read<GatingReport>(metrics, StepNames.Gating),
        Read<EvaluationReport>(metrics, StepNames.Evaluation));

    private static T? Read<T>(JsonObject metrics, string step)
        where T : class => metrics[step] is JsonObject figures ? figures.Deserialize<T>(JsonSerializerOptions.Web) : null;
}
