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

    /// <summary>r' of the chosen and the rejected responses [n, k].</summary>
    public required double[,] Chosen { get; init; }
    public required double[,] Rejected { get; init; }

    /// <summary>The size of what each r' is made of, see <see cref="Rewards.Magnitude"/>; that of r' itself if null.</summary>
    public double[,]? ChosenMagnitude { get; init; }
    public double[,]? RejectedMagnitude { get; init; }

    /// <summary>Source of each pair, for the report.</summary>
    public required IReadOnlyList<string> Sources { get; init; }

    public int Count => PromptOf.Length;
    public int Objectives => Chosen.GetLength(1);

    public IReadOnlyList<int> Training =>
        [.. Enumerable.Range(0, Count).Where(i => !Held(PromptOf[i].Chosen) && !Held(PromptOf[i].Rejected))];
    public IReadOnlyList<int> HeldOut => [.. Enumerable.Range(0, Count).Where(i => Held(PromptOf[i].Chosen) && Held(PromptOf[i].Rejected))];

    private bool Held(int prompt) => HashSplit.IsHeldOut(PromptIds[prompt], "gating");
}
