using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Scoring;

namespace ArmoFlow.RewardModel.Gating;

/// <summary>
/// Pairs as the gate sees them: prompts once each, and for each pair the prompt of either side and its debiased rewards.
/// </summary>
public sealed class GatingPairs
{
    /// <summary>Features of the distinct prompts [p, d].</summary>
    public required IFeatureRows Prompts { get; init; }

    /// <summary>Ids of the distinct prompts: they decide the split.</summary>
    public required IReadOnlyList<string> PromptIds { get; init; }

    /// <summary>For pair i, rows of <see cref="Prompts"/>: the chosen side's and the rejected side's; nearly always the same.</summary>
    public required (int Chosen, int Rejected)[] PromptOf { get; init; }

    /// <summary>r' of the chosen responses [n, k].</summary>
    public required DebiasedRewards Chosen { get; init; }

    /// <summary>r' of the rejected responses [n, k].</summary>
    public required DebiasedRewards Rejected { get; init; }

    /// <summary>Source of each pair, for the report.</summary>
    public required IReadOnlyList<string> Sources { get; init; }

    /// <summary>The number of pairs, n.</summary>
    public int Count => PromptOf.Length;

    /// <summary>The number of objectives, k.</summary>
    public int Objectives => Chosen.Objectives;

    /// <summary>The pairs to train on: neither of their prompts is held out.</summary>
    public IReadOnlyList<int> Training =>
        [.. Enumerable.Range(0, Count).Where(i => !IsHeldOut(PromptOf[i].Chosen) && !IsHeldOut(PromptOf[i].Rejected))];

    /// <summary>The pairs to measure on: both of their prompts are held out.</summary>
    public IReadOnlyList<int> HeldOut =>
        [.. Enumerable.Range(0, Count).Where(i => IsHeldOut(PromptOf[i].Chosen) && IsHeldOut(PromptOf[i].Rejected))];

    /// <summary>Accuracy of the baseline that weighs all objectives alike, on some pairs; null for no pairs.</summary>
    /// <param name="pairs">The pairs to count.</param>
    public double? MeanAccuracy(IReadOnlyCollection<int> pairs) => ScoreDifference.Accuracy(pairs, Chosen.Mean, Rejected.Mean);

    private bool IsHeldOut(int prompt) => HashSplit.IsHeldOut(PromptIds[prompt], "gating");
}
