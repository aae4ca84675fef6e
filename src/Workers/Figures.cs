using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.RewardModel.Decorrelation;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Regression;
using ArmoFlow.RewardModel.RewardBench;

namespace ArmoFlow.Workers;

/// <summary>What the mathematics found, as the records that reports and readers share.</summary>
internal static class Figures
{
    public static ObjectiveFigures Of(ObjectiveFit fit) => new()
    {
        Name = fit.Name,
        Rows = fit.Rows,
        HeldOutRows = fit.HeldOutRows,
        Alpha = fit.Alpha,
        ValidationMse = fit.ValidationMse,
        ValidationR2 = fit.ValidationR2,
        Alphas = [.. fit.Alphas.Select(a => new AlphaFigures(a.Alpha, a.Mse))],
        Note = fit.Note,
    };

    public static PenaltyFigures Of(PenaltyFit fit) => new()
    {
        Name = fit.Name,
        Penalty = fit.Penalty,
        Before = fit.Before,
        After = fit.After,
        Proof = fit.Proof is { } proof
            ? new CrossingFigures(proof.LowerPenalty, proof.CorrelationThere, proof.UpperPenalty, proof.CorrelationHere)
            : null,
    };

    public static GatingFigures Of(GatingOptions options) => new(options.Steps, options.BatchSize, options.LearningRate, options.Beta,
        options.Temperature, options.Hidden, options.Seed);

    public static SortedDictionary<string, SourceFigures> Of(SortedDictionary<string, SourceGate> sources) =>
        Sorted(sources, s => new SourceFigures(s.Pairs, s.HeldOut, s.HeldOutAccuracy, s.MeanCoefficients));

    public static HealthFigures Of(GateHealth health) => new()
    {
        LargestSumError = health.LargestSumError,
        MeanEntropy = health.MeanEntropy,
        SpreadOverPrompts = health.SpreadOverPrompts,
        Dead = health.Dead,
        Saturated = health.Saturated,
        VerbosityCorrelation = health.VerbosityCorrelation,
        Ties = health.Ties,
        NoSignal = health.NoSignal,
        Warnings = health.Warnings,
    };

    public static BenchmarkFigures? Of(BenchmarkOutcome? outcome) => outcome is not { Result: { } result } ? null : new BenchmarkFigures
    {
        Subsets = Sorted(result.Subsets, s => new SubsetFigures(s.Accuracy, s.Correct, s.Count, s.Ties)),
        Sections = result.Sections,
        SubsetWeights = result.SubsetWeights,
        Weights = result.Weights,
        Score = result.Score,
        Ties = result.Ties,
        LeftOut = result.LeftOut,
        OutsideSections = result.OutsideSections,
    };

    private static SortedDictionary<string, TTo> Sorted<TFrom, TTo>(SortedDictionary<string, TFrom> from, Func<TFrom, TTo> convert)
        where TFrom : notnull
        where TTo : notnull => new(from.ToDictionary(x => x.Key, x => convert(x.Value)), from.Comparer);
}
