using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>
/// r = W f(x⊕y), one reward for each objective (paper, section 3.1), and r' = r M, those rewards without the length bias.
/// </summary>
public static class Rewards
{
    private const int BlockRows = 4096;

    /// <summary>Rewards of every row, in float64.</summary>
    /// <param name="features">[n, d].</param>
    /// <param name="weight">W [k, d].</param>
    /// <param name="cancel">Checked between blocks.</param>
    /// <returns>r [n, k].</returns>
    public static Matrix Compute(IFeatureRows features, Matrix weight, CancellationToken cancel = default)
    {
        Matrix rewards = new(features.Count, weight.Rows);
        int blocks = (features.Count + BlockRows - 1) / BlockRows;
        Parallel.For(0, blocks, new ParallelOptions { CancellationToken = cancel }, block =>
        {
            float[] feature = new float[features.Dimension];
            int end = Math.Min(features.Count, (block + 1) * BlockRows);
            for (int i = block * BlockRows; i < end; i++)
            {
                features.Copy(i, feature);
                weight.Times(Matrix.Widen(feature), rewards.Row(i));
            }
        });
        return rewards;
    }

    /// <summary>r' = r M of every row, with the magnitudes that comparisons need.</summary>
    /// <param name="rewards">r [n, k].</param>
    /// <param name="transform">M [k, k].</param>
    public static DebiasedRewards Debias(Matrix rewards, Matrix transform)
    {
        Matrix debiased = new(rewards.Rows, rewards.Columns), magnitudes = new(rewards.Rows, rewards.Columns);
        for (int i = 0; i < rewards.Rows; i++) Debias(rewards.Row(i), transform, debiased.Row(i), magnitudes.Row(i));
        return new DebiasedRewards(debiased, magnitudes);
    }

    /// <summary>r' = r M of one response, [k] each.</summary>
    internal static void Debias(ReadOnlySpan<double> rewards, Matrix transform, Span<double> debiased, Span<double> magnitudes)
    {
        for (int o = 0; o < rewards.Length; o++)
        {
            double sum = 0;
            for (int j = 0; j < rewards.Length; j++) sum += rewards[j] * transform[j, o];
            debiased[o] = sum;
            magnitudes[o] = Magnitude(rewards[o], sum);
        }
    }

    /// <summary>The size of what a debiased reward is made of: the reward, and what was taken from it.</summary>
    /// <param name="reward">r of one objective.</param>
    /// <param name="debiased">r' of the same objective.</param>
    public static double Magnitude(double reward, double debiased) => Math.Abs(reward) + Math.Abs(reward - debiased);
}

/// <summary>r' of some responses.</summary>
/// <param name="Values">r' [n, k].</param>
/// <param name="Magnitudes">The size of what each r' is made of [n, k], see <see cref="Rewards.Magnitude"/>.</param>
public sealed record DebiasedRewards(Matrix Values, Matrix Magnitudes)
{
    /// <summary>The number of objectives, k.</summary>
    public int Objectives => Values.Columns;

    /// <summary>The rewards of some of the responses.</summary>
    /// <param name="rows">The rows to take, in order; a row may come more than once.</param>
    public DebiasedRewards Gather(IReadOnlyList<int> rows) => new(Values.Gather(rows), Magnitudes.Gather(rows));

    /// <summary>The score of a response under a gate.</summary>
    /// <param name="row">The response.</param>
    /// <param name="gate">The gate, for its β.</param>
    /// <param name="coefficients">What the gate makes of the response's prompt [k].</param>
    public Scored Score(int row, GatingNetwork gate, ReadOnlySpan<double> coefficients) =>
        Scored.Gated(gate.Beta, coefficients, Values.Row(row), Magnitudes.Row(row));

    /// <summary>The score of a response by the baseline that weighs all objectives alike.</summary>
    /// <param name="row">The response.</param>
    public Scored Mean(int row) => Scored.Mean(Values.Row(row), Magnitudes.Row(row));
}
