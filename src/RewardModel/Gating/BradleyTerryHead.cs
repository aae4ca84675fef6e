using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using MathNet.Numerics.LinearAlgebra;
using MathNet.Numerics.Optimization;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Gating;

/// <summary>
/// The baseline without objectives: one linear reward w·f(x⊕y), fitted to min Σ −log σ(w·(f_chosen − f_rejected)) + α/2 ‖w‖².
/// </summary>
public sealed record BradleyTerryHead(double[] Weight, double Alpha)
{
    private static readonly double[] Alphas = [1e-3, 1e-2, 1e-1, 1, 10, 100, 1000];
    private const int Iterations = 200, BlockRows = 8192;

    /// <summary>Fits on training pairs; α by accuracy on a fifth of their prompts.</summary>
    /// <param name="chosen">[n, d].</param>
    /// <param name="rejected">[n, d].</param>
    /// <param name="rows">The training pairs.</param>
    /// <param name="promptIds">Prompt of each of the n pairs.</param>
    /// <param name="cancel">Checked between evaluations.</param>
    public static BradleyTerryHead Fit(IFeatureRows chosen, IFeatureRows rejected, IReadOnlyList<int> rows, Func<int, string> promptIds,
        CancellationToken cancel = default)
    {
        int[] inner = [.. rows.Where(i => !HashSplit.IsHeldOut(promptIds(i), "bradley-terry"))],
            held = [.. rows.Where(i => HashSplit.IsHeldOut(promptIds(i), "bradley-terry"))];
        double best = 1;
        if (inner.Length > 0 && held.Length > 0)
        {
            double[]? start = null;
            double bestAccuracy = -1;
            foreach (double alpha in Alphas.Reverse()) // strong to weak, each from the one before
            {
                start = Minimise(chosen, rejected, inner, alpha, start, cancel);
                double accuracy = new BradleyTerryHead(start, alpha).Accuracy(chosen, rejected, held)!.Value;
                if (accuracy <= bestAccuracy) continue;
                best = alpha;
                bestAccuracy = accuracy;
            }
        }
        return new BradleyTerryHead(Minimise(chosen, rejected, rows, best, null, cancel), best);
    }

    /// <summary>Share of some pairs whose chosen response scores higher, by more than rounding; null for no pairs.</summary>
    /// <param name="chosen">[n, d].</param>
    /// <param name="rejected">[n, d].</param>
    /// <param name="pairs">The pairs to count.</param>
    public double? Accuracy(IFeatureRows chosen, IFeatureRows rejected, IReadOnlyCollection<int> pairs) =>
        ScoreDifference.Accuracy(pairs, i => Score(chosen, i), i => Score(rejected, i));

    /// <summary>The score w·f of a response, to be compared with another's.</summary>
    /// <param name="features">[n, d].</param>
    /// <param name="row">The response.</param>
    public Scored Score(IFeatureRows features, int row)
    {
        float[] response = features.Row(row);
        double sum = 0, magnitude = 0;
        for (int j = 0; j < response.Length; j++)
        {
            double term = Weight[j] * response[j];
            sum += term;
            magnitude += Math.Abs(term);
        }
        return new Scored(sum, magnitude);
    }

    private static double[] Minimise(IFeatureRows chosen, IFeatureRows rejected, IReadOnlyList<int> rows, double alpha, double[]? start,
        CancellationToken cancel)
    {
        double lowest = double.PositiveInfinity;
        double[] best = start ?? new double[chosen.Dimension];
        (double, Vector<double>) Evaluate(Vector<double> w)
        {
            cancel.ThrowIfCancellationRequested();
            double[] weight = w.ToArray();
            (double value, double[] gradient) = Loss(chosen, rejected, rows, alpha, weight);
            if (value < lowest)
            {
                lowest = value;
                best = weight;
            }
            return (value, Vector<double>.Build.Dense(gradient));
        }
        try
        {
            LimitedMemoryBfgsMinimizer minimizer = new(1e-7 * rows.Count, 1e-12, 1e-14, Iterations, 10);
            minimizer.FindMinimum(ObjectiveFunction.Gradient(Evaluate), Vector<double>.Build.Dense(best));
        }
        catch (OptimizationException)
        {
            // Raised when the line search or the iterations end before the tolerance is met: the lowest point seen is kept.
            return best;
        }
        return best;
    }

    private static (double Value, double[] Gradient) Loss(IFeatureRows chosen, IFeatureRows rejected, IReadOnlyList<int> rows,
        double alpha, double[] weight)
    {
        using DisposeScope scope = NewDisposeScope();
        using var noGradient = no_grad();
        Tensor w = tensor(weight);
        Tensor value = w.Squared().sum().Times(alpha / 2), gradient = w.Times(alpha);
        foreach (int[] block in rows.Chunk(BlockRows))
        {
            Tensor difference = chosen.Block(block, ScalarType.Float64) - rejected.Block(block, ScalarType.Float64); // [rows, d]
            Tensor margin = difference.matmul(w);
            value = value - nn.functional.logsigmoid(margin).sum();
            gradient = gradient - difference.t().matmul((-margin).sigmoid());
        }
        return (value.item<double>(), gradient.data<double>().ToArray());
    }
}
