using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Scoring;

namespace ArmoFlow.RewardModel.Gating;

/// <summary>What a gate does on the pairs of one source.</summary>
/// <param name="Pairs">The source's pairs.</param>
/// <param name="HeldOut">How many of them are held out.</param>
/// <param name="HeldOutAccuracy">Share of these whose chosen response scores higher; null where none is held out.</param>
/// <param name="MeanCoefficients">Objective → mean of its coefficient over the prompts of all the source's pairs.</param>
public sealed record SourceGate(int Pairs, int HeldOut, double? HeldOutAccuracy, IReadOnlyDictionary<string, double> MeanCoefficients);

/// <summary>What a gate makes of preference pairs.</summary>
/// <param name="Coefficients">The coefficients of each distinct prompt, k each.</param>
/// <param name="Chosen">The score of each pair's chosen response.</param>
/// <param name="Rejected">The score of each pair's rejected response.</param>
public sealed record PairScores(double[][] Coefficients, Scored[] Chosen, Scored[] Rejected)
{
    /// <summary>Scores both sides of every pair.</summary>
    /// <param name="pairs">The pairs.</param>
    /// <param name="gate">From the dimension of their prompts' features to their number of objectives.</param>
    public static PairScores Compute(GatingPairs pairs, GatingNetwork gate)
    {
        double[][] coefficients = new double[pairs.Prompts.Count][];
        Parallel.For(0, coefficients.Length, p => coefficients[p] = gate.Coefficients(pairs.Prompts.Row(p)));
        Scored[] chosen = new Scored[pairs.Count], rejected = new Scored[pairs.Count];
        for (int i = 0; i < pairs.Count; i++)
        {
            chosen[i] = pairs.Chosen.Score(i, gate, coefficients[pairs.PromptOf[i].Chosen]);
            rejected[i] = pairs.Rejected.Score(i, gate, coefficients[pairs.PromptOf[i].Rejected]);
        }
        return new PairScores(coefficients, chosen, rejected);
    }

    /// <summary>Share of some pairs whose chosen response scores higher, by more than rounding; null for no pairs.</summary>
    /// <param name="pairs">The pairs to count.</param>
    public double? Accuracy(IReadOnlyCollection<int> pairs) => ScoreDifference.Accuracy(pairs, i => Chosen[i], i => Rejected[i]);

    /// <summary>How many of some pairs tie.</summary>
    /// <param name="pairs">The pairs to count.</param>
    public int Ties(IReadOnlyCollection<int> pairs) => pairs.Count(i => ScoreDifference.IsTie(Chosen[i], Rejected[i]));

    /// <summary>Share of all pairs whose sides tie; 0 for no pairs.</summary>
    public double TieShare =>
        Chosen.Length == 0 ? 0 : Chosen.Zip(Rejected, ScoreDifference.IsTie).Count(tie => tie) / (double)Chosen.Length;

    /// <summary>The scores of all responses: of the chosen ones, then of the rejected ones.</summary>
    public double[] Values => [.. Chosen.Concat(Rejected).Select(s => s.Value)];

    /// <summary>The gate's figures by source, in the order of their names.</summary>
    /// <param name="pairs">The pairs that were scored.</param>
    /// <param name="objectives">The names of the k objectives.</param>
    public SortedDictionary<string, SourceGate> BySource(GatingPairs pairs, IReadOnlyList<string> objectives)
    {
        IReadOnlyList<int> heldOut = pairs.HeldOut;
        SortedDictionary<string, SourceGate> sources = new(StringComparer.Ordinal);
        foreach (IGrouping<string, int> source in Enumerable.Range(0, pairs.Count).GroupBy(i => pairs.Sources[i]))
        {
            int[] heldOutHere = [.. heldOut.Where(i => pairs.Sources[i] == source.Key)];
            double[][] coefficients = [.. source.Select(i => Coefficients[pairs.PromptOf[i].Chosen])];
            Dictionary<string, double> means = [];
            for (int o = 0; o < objectives.Count; o++) means[objectives[o]] = coefficients.Average(c => c[o]);
            sources[source.Key] = new SourceGate(coefficients.Length, heldOutHere.Length, Accuracy(heldOutHere), means);
        }
        return sources;
    }
}
