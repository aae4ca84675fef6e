namespace ArmoFlow.RewardModel.Gating;

/// <summary>Scores of both sides of every pair under a gate, and the coefficients of every prompt.</summary>
public sealed record PairScores(double[][] Coefficients, double[] Chosen, double[] Rejected)
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
        double Score(int prompt, double[,] rewards, int row) => coefficients[prompt].Select((c, o) => gate.Beta * c * rewards[row, o]).Sum();
        return new PairScores(coefficients,
            [.. Enumerable.Range(0, pairs.Count).Select(i => Score(pairs.PromptOf[i].Chosen, pairs.Chosen, i))],
            [.. Enumerable.Range(0, pairs.Count).Select(i => Score(pairs.PromptOf[i].Rejected, pairs.Rejected, i))]);
    }

    /// <summary>Share of pairs whose chosen side scores strictly higher; null for no pairs.</summary>
    public double? Accuracy(IReadOnlyCollection<int> rows) => rows.Count == 0 ? null : rows.Count(i => Chosen[i] > Rejected[i]) / (double)rows.Count;
}
