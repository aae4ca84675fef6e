using ArmoFlow.RewardModel.Features;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>r = W f(x⊕y): one value for each objective (paper, section 3.1).</summary>
public static class Rewards
{
    private const int BlockRows = 4096;

    /// <summary>Rewards of every row, in float64.</summary>
    /// <param name="features">[n, d].</param>
    /// <param name="weight">[k, d], row-major.</param>
    /// <param name="cancel">Looked at between blocks.</param>
    /// <returns>[n, k].</returns>
    public static double[,] Compute(IFeatureRows features, float[] weight, CancellationToken cancel = default)
    {
        int d = features.Dimension, k = weight.Length / d;
        double[,] rewards = new double[features.Count, k];
        double[][] rows = Wide(weight, k);
        Parallel.For(0, (features.Count + BlockRows - 1) / BlockRows, new ParallelOptions { CancellationToken = cancel }, b =>
        {
            float[] single = new float[d];
            double[] feature = new double[d];
            for (int i = b * BlockRows; i < Math.Min(features.Count, (b + 1) * BlockRows); i++)
            {
                features.Copy(i, single);
                for (int j = 0; j < d; j++) feature[j] = single[j];
                for (int o = 0; o < k; o++) rewards[i, o] = DenseLayer.Dot(rows[o], feature);
            }
        });
        return rewards;
    }

    /// <summary>r' = r M.</summary>
    /// <param name="rewards">[n, k].</param>
    /// <param name="transform">M [k, k], row-major.</param>
    public static double[,] Transform(double[,] rewards, float[] transform)
    {
        int n = rewards.GetLength(0), k = rewards.GetLength(1);
        double[,] result = new double[n, k];
        for (int i = 0; i < n; i++)
        {
            for (int o = 0; o < k; o++)
            {
                for (int j = 0; j < k; j++)
                    result[i, o] += rewards[i, j] * transform[j * k + o];
            }
        }
        return result;
    }

    /// <summary>The size of what a debiased reward is made of: the reward, and what was taken from it.</summary>
    public static double Magnitude(double reward, double debiased) => Math.Abs(reward) + Math.Abs(reward - debiased);

    /// <summary>The same of every reward, [n, k].</summary>
    public static double[,] Magnitudes(double[,] rewards, double[,] debiased)
    {
        int n = rewards.GetLength(0), k = rewards.GetLength(1);
        double[,] magnitudes = new double[n, k];
        for (int i = 0; i < n; i++)
        {
            for (int o = 0; o < k; o++) magnitudes[i, o] = Magnitude(rewards[i, o], debiased[i, o]);
        }
        return magnitudes;
    }

    private static double[][] Wide(float[] values, int rows) =>
        [.. values.Chunk(values.Length / rows).Select(r => r.Select(v => (double)v).ToArray())];
}

/// <summary>An affine layer in float64 whose result for a row does not depend on the rows beside it.</summary>
internal sealed class DenseLayer
{
    private readonly double[][] _weight;
    private readonly double[] _bias;

    public DenseLayer(float[] weight, float[] bias)
    {
        _weight = [.. weight.Chunk(weight.Length / bias.Length).Select(r => r.Select(v => (double)v).ToArray())];
        _bias = [.. bias.Select(v => (double)v)];
    }

    public int Inputs => _weight[0].Length;

    public double[] Apply(double[] x)
    {
        double[] y = new double[_bias.Length];
        for (int o = 0; o < y.Length; o++) y[o] = Dot(_weight[o], x) + _bias[o];
        return y;
    }

    public static double Dot(double[] a, double[] b)
    {
        System.Numerics.Vector<double> sums = default;
        int i = 0, width = System.Numerics.Vector<double>.Count;
        for (; i <= a.Length - width; i += width)
            sums += new System.Numerics.Vector<double>(a, i) * new System.Numerics.Vector<double>(b, i);
        double sum = System.Numerics.Vector.Sum(sums);
        for (; i < a.Length; i++) sum += a[i] * b[i];
        return sum;
    }
}
