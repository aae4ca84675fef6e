using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Regression;
using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// All objectives and α at once, against the reference's way: for each objective and each α, form the Gram matrix of its rows
/// again and solve. Limit: one pass that forms each row's products once.
/// </summary>
internal static class RegressionBench
{
    private const int Sources = 8, Objectives = 19;

    public static async Task Run(int rows, int dimension)
    {
        float[] x = new float[rows * dimension];
        for (int i = 0; i < x.Length; i++) x[i] = (float)(CounterRandom.Uniform(1, 1, (ulong)i) - 0.5);
        Matrix labels = new(rows, Objectives);
        for (int i = 0; i < rows; i++)
        {
            for (int o = 0; o < Objectives; o++)
                labels[i, o] = o % Sources == i % Sources ? CounterRandom.Uniform(1, 2, (ulong)(i * Objectives + o)) : double.NaN;
        }
        string[] ids = [.. Enumerable.Range(0, rows).Select(i => $"row {i}")],
            names = [.. Enumerable.Range(0, Objectives).Select(o => $"objective {o}")];
        ArrayRows features = new(x, dimension);

        double ours = await Measure.Seconds(() => new RidgeRegression(features, labels, names, ids).Fit(RidgeRegression.DefaultAlphas));
        double peer = Measure.Seconds(() => ReferenceWay(features, labels, ids), 1);
        double limit = 2.0 * rows * dimension * dimension / Measure.MatrixProductFlops(ScalarType.Float64);
        Measure.Print($"regression: {rows:N0} rows, d = {dimension}, {Objectives} objectives in {Sources} sources, "
            + $"{RidgeRegression.DefaultAlphas.Count} α",
            ours, peer, limit, "s");
    }

    private static void ReferenceWay(ArrayRows features, Matrix labels, string[] ids)
    {
        for (int o = 0; o < Objectives; o++)
        {
            int objective = o;
            int[] rated = [.. Enumerable.Range(0, features.Count).Where(i => !double.IsNaN(labels[i, objective]))];
            int[] training = [.. rated.Where(i => !HashSplit.IsHeldOut(ids[i], "regression"))], held = [.. rated.Except(training)];
            (double Error, double Alpha) best = (double.PositiveInfinity, 0);
            foreach (double alpha in RidgeRegression.DefaultAlphas)
            {
                using DisposeScope scope = NewDisposeScope();
                Tensor w = Solve(features, labels, training, objective, alpha);
                Tensor error = features.Block(held, ScalarType.Float64).matmul(w) - Labels(labels, held, objective);
                double mse = error.square().mean().item<double>();
                if (mse < best.Error) best = (mse, alpha);
            }
            using DisposeScope last = NewDisposeScope();
            Solve(features, labels, rated, objective, best.Alpha);
        }
    }

    private static Tensor Solve(ArrayRows features, Matrix labels, int[] rows, int objective, double alpha)
    {
        Tensor x = features.Block(rows, ScalarType.Float64), gram = x.t().matmul(x);
        gram.diagonal().add_(alpha);
        return cholesky_solve(x.t().matmul(Labels(labels, rows, objective)), linalg.cholesky(gram));
    }

    private static Tensor Labels(Matrix labels, int[] rows, int objective) =>
        tensor([.. rows.Select(i => labels[i, objective])]).unsqueeze(1);
}
