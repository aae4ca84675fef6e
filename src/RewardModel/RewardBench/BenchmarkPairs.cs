using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Scoring;

namespace ArmoFlow.RewardModel.RewardBench;

/// <summary>What a scorer did on a benchmark.</summary>
/// <param name="Result">Its accuracies.</param>
/// <param name="Rows">Subset → for each of its pairs, in the benchmark's order, 1 for right and 0 for wrong.</param>
public sealed record BenchmarkOutcome(RewardBenchResult Result, SortedDictionary<string, string> Rows);

/// <summary>A benchmark's pairs as features, for any scorer.</summary>
/// <param name="Subsets">The subset of each pair, n.</param>
/// <param name="Chosen">f(x⊕y) of the chosen responses [n, d].</param>
/// <param name="Rejected">f(x⊕y) of the rejected responses [n, d].</param>
/// <param name="ChosenPrompts">f(x) of the chosen responses' prompts [n, d].</param>
/// <param name="RejectedPrompts">f(x) of the rejected responses' prompts [n, d].</param>
/// <param name="Sections">Section → subset → weight; null for the published ones.</param>
public sealed record BenchmarkPairs(
    IReadOnlyList<string> Subsets,
    IFeatureRows Chosen,
    IFeatureRows Rejected,
    IFeatureRows ChosenPrompts,
    IFeatureRows RejectedPrompts,
    IReadOnlyDictionary<string, IReadOnlyDictionary<string, double>>? Sections = null)
{
    /// <summary>The number of pairs, n.</summary>
    public int Count => Subsets.Count;

    /// <summary>Scores by the gated model; null for no pairs.</summary>
    /// <param name="model">Of the features' dimension.</param>
    /// <param name="cancel">Checked between pairs.</param>
    public BenchmarkOutcome? Evaluate(TrainedModel model, CancellationToken cancel = default) => Evaluate(
        i => Explain(model, Chosen, ChosenPrompts, i).Scored,
        i => Explain(model, Rejected, RejectedPrompts, i).Scored,
        cancel);

    /// <summary>Scores by the mean of the model's debiased rewards, without its gate; null for no pairs.</summary>
    /// <param name="model">Of the features' dimension.</param>
    /// <param name="cancel">Checked between pairs.</param>
    public BenchmarkOutcome? EvaluateMean(TrainedModel model, CancellationToken cancel = default) => Evaluate(
        i => model.Mean(Chosen.Row(i)),
        i => model.Mean(Rejected.Row(i)),
        cancel);

    /// <summary>Scores by a Bradley–Terry head; null for no pairs.</summary>
    /// <param name="head">Of the features' dimension.</param>
    /// <param name="cancel">Checked between pairs.</param>
    public BenchmarkOutcome? Evaluate(BradleyTerryHead head, CancellationToken cancel = default) => Evaluate(
        i => head.Score(Chosen, i),
        i => head.Score(Rejected, i),
        cancel);

    private static Explanation Explain(TrainedModel model, IFeatureRows responses, IFeatureRows prompts, int row) =>
        model.Explain(responses.Row(row), prompts.Row(row));

    private BenchmarkOutcome? Evaluate(Func<int, Scored> chosen, Func<int, Scored> rejected, CancellationToken cancel)
    {
        if (Count == 0) return null;
        ScoredPair[] pairs = new ScoredPair[Count];
        ParallelOptions options = new() { CancellationToken = cancel };
        Parallel.For(0, Count, options, i => pairs[i] = new ScoredPair(Subsets[i], chosen(i), rejected(i)));
        SortedDictionary<string, string> rows = new(StringComparer.Ordinal);
        foreach (IGrouping<string, ScoredPair> subset in pairs.GroupBy(p => p.Subset))
            rows[subset.Key] = string.Concat(subset.Select(p => p.IsRight ? '1' : '0'));
        return new BenchmarkOutcome(RewardBenchScore.Evaluate(pairs, Sections), rows);
    }
}
