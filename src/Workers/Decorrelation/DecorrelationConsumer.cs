using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Decorrelation;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.Workers.Features;
using MassTransit;
using static TorchSharp.torch;

namespace ArmoFlow.Workers.Decorrelation;

/// <summary>Finds the penalties that take verbosity out of each objective.</summary>
public sealed class DecorrelationConsumer(StepServices services)
    : StepConsumer<FitDecorrelation, DecorrelationFitted>(services)
{
    protected override Task<StepPlan> Plan(StepRun run) => Task.FromResult(new StepPlan(new { run.Objectives, run.Spec.Decorrelation },
        run.Inputs(ArtifactNames.Preferences, ArtifactNames.Features, ArtifactNames.Regression)));

    protected override async Task<StepWork> Work(StepRun run, ConsumeContext context)
    {
        int verbosity = Verbosity(run);
        using FeatureTable features = await FeatureTable.Open(run);
        string[] ids = await ReferenceSet(run, features);
        using SafetensorsFile regression = await run.OpenTensors(ArtifactNames.Regression);
        IFeatureRows rows = features.Responses(ids);
        Matrix rewards = Rewards.Compute(rows, regression.LoadMatrix("weight"), run.Cancel);
        CorrelationMetric metric = Enum.Parse<CorrelationMetric>(run.Spec.Decorrelation.Metric, ignoreCase: true);
        DecorrelationFit fit = VerbosityPenalty.Fit(rewards, run.Objectives, verbosity, metric,
            done => run.Progress("objectives", done, run.Objectives.Count), run.Cancel);

        using Tensor penalties = tensor(fit.Penalties), transform = fit.Transform.ToTensor();
        ArtifactRef artifact = await run.PutTensors([("penalties", penalties), ("reward_transform_matrix", transform)]);
        DecorrelationReport report = new()
        {
            Verbosity = run.Spec.Decorrelation.Verbosity,
            Metric = run.Spec.Decorrelation.Metric,
            Reference = run.Spec.Decorrelation.Reference ?? "all preferences",
            Responses = ids.Length,
            Objectives = [.. fit.Objectives.Select(Figures.Of)],
        };
        double before = Largest(fit, f => f.Before), after = Largest(fit, f => f.After);
        return new StepWork.Done(new Dictionary<string, ArtifactRef>
        {
            [ArtifactNames.Decorrelation] = artifact,
            [ArtifactNames.DecorrelationReport] = await run.PutJson(report)
        },
            $"largest |{run.Spec.Decorrelation.Metric}| with {run.Spec.Decorrelation.Verbosity} {before:f3} → {after:g2}, on "
                + $"{ids.Length:N0} responses of {report.Reference}",
            report);

        double Largest(DecorrelationFit f, Func<PenaltyFit, double> of) =>
            f.Objectives.Where((_, i) => i != verbosity).Select(o => Math.Abs(of(o))).DefaultIfEmpty(0).Max();
    }

    /// <summary>Which objective rates length.</summary>
    private static int Verbosity(StepRun run)
    {
        string named = run.Spec.Decorrelation.Verbosity;
        int verbosity = run.Objectives.ToList().IndexOf(named);
        if (verbosity >= 0) return verbosity;
        throw new InvalidInputException("decorrelation.verbosity", $"'{named}'", "one of the objectives",
            "Name the objective that rates length.");
    }

    /// <summary>The responses that the correlations are taken over.</summary>
    private static async Task<string[]> ReferenceSet(StepRun run, FeatureTable features)
    {
        string? reference = run.Spec.Decorrelation.Reference;
        string[] ids = [.. (await run.Read(ArtifactNames.Preferences, CanonicalTables.ReadPreferences))
            .Where(p => reference is null || p.Source == reference)
            .SelectMany(p => new[] { p.ChosenId, p.RejectedId })
            .Distinct()
            .Where(features.Has)];
        if (ids.Length >= 2) return ids;
        throw new InvalidInputException("decorrelation.reference", $"{ids.Length} responses within the token limit",
            "a reference set of many responses", "Name a larger preference source.");
    }
}
