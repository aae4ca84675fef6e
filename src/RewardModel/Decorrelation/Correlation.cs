namespace ArmoFlow.RewardModel.Decorrelation;

/// <summary>The correlation coefficients that are computed here.</summary>
public enum CorrelationMetric
{
    /// <summary>Of the ranks.</summary>
    Spearman,

    /// <summary>Of the values.</summary>
    Pearson,
}

/// <summary>Correlation coefficients in float64; 0 where one side is constant and none is defined.</summary>
public static class Correlation
{
    /// <summary>The coefficient that a metric names, from −1 to 1.</summary>
    /// <param name="metric">Which one.</param>
    /// <param name="a">One side [n].</param>
    /// <param name="b">The other side [n].</param>
    public static double Of(CorrelationMetric metric, double[] a, double[] b) =>
        metric == CorrelationMetric.Pearson ? Pearson(a, b) : Spearman(a, b);

    /// <summary>Pearson's coefficient, from −1 to 1.</summary>
    /// <param name="a">One side [n].</param>
    /// <param name="b">The other side [n].</param>
    public static double Pearson(double[] a, double[] b)
    {
        double meanA = a.Average(), meanB = b.Average(), ab = 0, aa = 0, bb = 0;
        for (int i = 0; i < a.Length; i++)
        {
            double x = a[i] - meanA, y = b[i] - meanB;
            ab += x * y;
            aa += x * x;
            bb += y * y;
        }
        return aa > 0 && bb > 0 ? ab / Math.Sqrt(aa * bb) : 0;
    }

    /// <summary>Pearson's coefficient of the ranks, ties sharing their mean rank.</summary>
    public static double Spearman(double[] a, double[] b) => Pearson(Ranks(a), Ranks(b));

    /// <summary>Ranks from 1; equal values share the mean of their ranks.</summary>
    public static double[] Ranks(double[] values)
    {
        double[] sorted = [.. values];
        int[] order = [.. Enumerable.Range(0, values.Length)];
        Array.Sort(sorted, order);
        double[] ranks = new double[values.Length];
        for (int i = 0; i < order.Length;)
        {
            int j = i;
            while (j < order.Length && sorted[j] == sorted[i]) j++;
            for (int t = i; t < j; t++) ranks[order[t]] = (i + j + 1) / 2.0;
            i = j;
        }
        return ranks;
    }
}
