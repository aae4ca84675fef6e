using ArmoFlow.RewardModel.Scoring;

namespace ArmoFlow.RewardModel.Gating;

/// <summary>Scores of both sides of every pair under a gate, and the coefficients of every prompt.</summary>
public sealed record PairScores(double[][] Coefficients, Scored[] Chosen, Scored[] Rejected)
{
    public static PairScores Compute(GatingPairs pairs, GatingNetwork gate)
    {
        double[][] coefficients = new double[pairs.Prompts.Count][];
        Parallel.For(0, coefficients.Length, p =>
        {
            float[] prompt = new float[pairs.Prompts.Dimension];
            pairs.Prompts.Copy(p, prompt);
            coefficients[p] = gate.Coefficients(prompt);
        });
        return new PairScores(coefficients,
            [.. Enumerable.Range(0, pairs.Count)
                .Select(i => Score(coefficients[pairs.PromptOf[i].Chosen], pairs.Chosen, pairs.ChosenMagnitude, i))],
            [.. Enumerable.Range(0, pairs.Count)
                .Select(i => Score(coefficients[pairs.PromptOf[i].Rejected], pairs.Rejected, pairs.RejectedMagnitude, i))]);

        Scored Score(double[] coefficient, double[,] rewards, double[,]? magnitudes, int row)
        {
            double value = 0, magnitude = 0;
            for (int o = 0; o < coefficient.Length; o++)
            {
                value += gate.Beta * coefficient[o] * rewards[row, o];
                magnitude += Math.Abs(gate.Beta * coefficient[o]) * (magnitudes?[row, o] ?? Math.Abs(rewards[row, o]));
            }
            return new Scored(value, magnitude);
        }
    }

    /// <summary>Share of pairs whose chosen side scores higher, by more than rounding; null for no pairs.</summary>
    public double? Accuracy(IReadOnlyCollection<int> rows) =>
        rows.Count == 0 ? null : rows.Count(i => ScoreDifference.IsHigher(Chosen[i], Rejected[i])) / (double)rows.Count;

    /// <summary>How many of some pairs tie.</summary>
    public int Ties(IReadOnlyCollection<int> rows) => rows.Count(i => ScoreDifference.IsTie(Chosen[i], Rejected[i]));

    /// <summary>Share of all pairs whose sides tie; 0 for no pairs.</summary>
    public double TieShare =>
        Chosen.Length == 0 ? 0 : Chosen.Zip(Rejected, ScoreDifference.IsTie).Count(tie => tie) / (double)Chosen.Length;
}
