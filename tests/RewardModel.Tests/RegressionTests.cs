using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Regression;
using ArmoFlow.RewardModel.Tensors;
using FsCheck;
using FsCheck.Fluent;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

public class RegressionTests
{
    private const double SolveTolerance = 1e-6; // float32 storage of the weights allows 6e-8; the rest is the acceptance's own
    private static readonly double[] Grid = [0, 1e-4, 1e-2, 1, 100, 1e4];

    [Fact]
    public async Task Weights_equal_a_plain_float64_solve_for_every_alpha_with_missing_labels()
    {
        Problem p = Problem.Random(rows: 3000, d: 24, k: 3, seed: 1, missing: 0.4);
        foreach (double alpha in Grid)
        {
            RegressionFit fit = await p.Fit([alpha]);
            for (int o = 0; o < 3; o++) ShouldBeClose(PlainRidge(p, o, alpha), Row(fit, o), SolveTolerance);
        }
    }

    [Fact]
    public async Task Fewer_rows_than_dimensions_are_solved_for_every_alpha()
    {
        Problem p = Problem.Random(rows: 20, d: 32, k: 2, seed: 2, missing: 0);
        foreach (double alpha in Grid.Where(a => a > 0))
        {
            RegressionFit fit = await p.Fit([alpha]);
            for (int o = 0; o < 2; o++) ShouldBeClose(PlainRidge(p, o, alpha), Row(fit, o), SolveTolerance);
        }
    }

    [Fact]
    public async Task With_alpha_zero_and_fewer_rows_than_dimensions_the_minimum_norm_solution_is_found_and_said()
    {
        Problem p = Problem.Random(rows: 20, d: 32, k: 1, seed: 3, missing: 0);
        RegressionFit fit = await p.Fit([0]);
        ShouldBeClose(MinimumNorm(p, 0), Row(fit, 0), SolveTolerance);
        fit.Objectives[0].Note.ShouldNotBeNull().ShouldContain("minimum-norm");
    }

    [Fact]
    public async Task Collinear_columns_share_the_weight_at_alpha_zero_and_match_the_plain_solve_elsewhere()
    {
        Problem p = Problem.Random(rows: 500, d: 8, k: 1, seed: 4, missing: 0).WithCopiedColumn(from: 0, to: 7);
        double[] zero = Row(await p.Fit([0]), 0);
        zero[7].ShouldBe(zero[0], 1e-6);
        foreach (double alpha in Grid.Where(a => a > 0))
            ShouldBeClose(PlainRidge(p, 0, alpha), Row(await p.Fit([alpha]), 0), SolveTolerance);
    }

    [Fact]
    public async Task An_ill_conditioned_system_is_refined_to_the_plain_solution()
    {
        Problem p = Problem.Random(rows: 800, d: 12, k: 1, seed: 5, missing: 0).WithScaledColumn(3, 1e-3).WithScaledColumn(4, 1e3);
        foreach (double alpha in new[] { 0, 1e-4, 1.0 })
            ShouldBeClose(PlainRidge(p, 0, alpha), Row(await p.Fit([alpha]), 0), SolveTolerance);
    }

    [Fact]
    public async Task Alpha_is_the_one_with_the_smallest_error_on_the_held_out_rows()
    {
        Problem p = Problem.Random(rows: 400, d: 16, k: 1, seed: 6, missing: 0, noise: 3);
        ObjectiveFit fit = (await p.Fit(Grid)).Objectives[0];
        bool[] held = [.. p.Ids.Select(id => HashSplit.IsHeldOut(id, "regression"))];
        fit.HeldOutRows.ShouldBe(held.Count(h => h));
        double[] errors = [.. Grid.Select(alpha =>
        {
            double[] w = PlainRidge(p, 0, alpha, i => !held[i]);
            return Enumerable.Range(0, p.Rows).Where(i => held[i]).Average(i => Math.Pow(p.Predict(w, i) - p.Labels[i, 0], 2));
        })];
        for (int a = 0; a < Grid.Length; a++) fit.Alphas[a].Mse!.Value.ShouldBe(errors[a], 1e-9 * errors[a]);
        fit.Alpha.ShouldBe(Grid[Array.IndexOf(errors, errors.Min())]);
        double[] labels = [.. Enumerable.Range(0, p.Rows).Where(i => held[i]).Select(i => p.Labels[i, 0])];
        double mean = labels.Average(), spread = labels.Average(l => (l - mean) * (l - mean));
        fit.ValidationR2!.Value.ShouldBe(1 - errors.Min() / spread, 1e-9);
    }

    [Fact]
    public void Order_of_rows_does_not_matter() => Prop.ForAll(ArbMap.Default.ArbFor<int>(), async seed =>
    {
        Problem p = Problem.Random(rows: 60, d: 5, k: 2, seed: (ulong)(uint)seed, missing: 0.3);
        RegressionFit a = await p.Fit([1]), b = await p.Reversed().Fit([1]);
        for (int o = 0; o < 2; o++) ShouldBeClose(Row(a, o), Row(b, o), 1e-6);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(20));

    [Fact]
    public async Task A_retrain_that_reuses_kept_sums_equals_one_from_scratch_to_the_bit()
    {
        Problem all = Problem.Random(rows: 5000, d: 6, k: 2, seed: 7, missing: 0), first = all.Head(3500);
        MemoryStore store = new();
        await first.Fit(Grid, store);
        store.Kept.ShouldBeGreaterThan(0);
        RegressionFit grown = await all.Fit(Grid, store), scratch = await all.Fit(Grid);
        store.Found.ShouldBeGreaterThan(0);
        for (int o = 0; o < 2; o++) Row(grown, o).ShouldBe(Row(scratch, o));
        grown.Objectives.Select(o => o.ValidationMse).ShouldBe(scratch.Objectives.Select(o => o.ValidationMse));
    }

    [Fact]
    public async Task Ratings_absent_at_random_over_many_patterns_are_fitted_by_objective()
    {
        Problem p = Problem.Random(rows: 600, d: 4, k: 6, seed: 8, missing: 0.5);
        RegressionFit fit = await p.Fit([1]);
        for (int o = 0; o < 6; o++) ShouldBeClose(PlainRidge(p, o, 1), Row(fit, o), SolveTolerance);
    }

    [Fact]
    public async Task An_objective_that_no_row_rates_is_refused_by_name()
    {
        Problem p = Problem.Random(rows: 30, d: 4, k: 2, seed: 9, missing: 0);
        for (int i = 0; i < p.Rows; i++) p.Labels[i, 1] = double.NaN;
        (await Should.ThrowAsync<InvalidInputException>(() => p.Fit([1]))).Message.ShouldContain("'objective-1'");
    }

    [Fact]
    public async Task A_single_row_is_fitted_without_validation_and_says_so()
    {
        ObjectiveFit fit = (await Problem.Random(rows: 1, d: 2, k: 1, seed: 10, missing: 0).Fit([0.1, 1, 10])).Objectives[0];
        fit.Alpha.ShouldBe(1);
        fit.ValidationMse.ShouldBeNull();
        fit.Note.ShouldNotBeNull();
    }

    private static double[] Row(RegressionFit fit, int o) => fit.Weight.Row(o).ToArray();

    private static void ShouldBeClose(double[] expected, double[] actual, double tolerance)
    {
        double scale = expected.Max(Math.Abs);
        for (int j = 0; j < expected.Length; j++) actual[j].ShouldBe(expected[j], tolerance * scale);
    }

    /// <summary>The reference: normal equations by Gaussian elimination with pivoting, in float64.</summary>
    private static double[] PlainRidge(Problem p, int objective, double alpha, Func<int, bool>? use = null)
    {
        double[,] a = new double[p.D, p.D + 1];
        foreach (int i in Enumerable.Range(0, p.Rows).Where(i => !double.IsNaN(p.Labels[i, objective]) && (use?.Invoke(i) ?? true)))
        {
            for (int r = 0; r < p.D; r++)
            {
                for (int c = 0; c < p.D; c++) a[r, c] += (double)p.X[i * p.D + r] * p.X[i * p.D + c];
                a[r, p.D] += p.X[i * p.D + r] * p.Labels[i, objective];
            }
        }
        for (int r = 0; r < p.D; r++) a[r, r] += alpha;
        return Eliminate(a);
    }

    /// <summary>Xᵀ (X Xᵀ)⁻¹ y.</summary>
    private static double[] MinimumNorm(Problem p, int objective)
    {
        double[,] a = new double[p.Rows, p.Rows + 1];
        for (int r = 0; r < p.Rows; r++)
        {
            for (int c = 0; c < p.Rows; c++)
                for (int j = 0; j < p.D; j++) a[r, c] += (double)p.X[r * p.D + j] * p.X[c * p.D + j];
            a[r, p.Rows] = p.Labels[r, objective];
        }
        double[] z = Eliminate(a);
        return [.. Enumerable.Range(0, p.D).Select(j => Enumerable.Range(0, p.Rows).Sum(i => p.X[i * p.D + j] * z[i]))];
    }

    private static double[] Eliminate(double[,] a)
    {
        int n = a.GetLength(0);
        for (int c = 0; c < n; c++)
        {
            int pivot = Enumerable.Range(c, n - c).MaxBy(r => Math.Abs(a[r, c]));
            for (int j = c; j <= n; j++) (a[c, j], a[pivot, j]) = (a[pivot, j], a[c, j]);
            for (int r = 0; r < n; r++)
            {
                if (r == c) continue;
                double factor = a[r, c] / a[c, c];
                for (int j = c; j <= n; j++) a[r, j] -= factor * a[c, j];
            }
        }
        return [.. Enumerable.Range(0, n).Select(r => a[r, n] / a[r, r])];
    }

    private sealed class MemoryStore : IGramStore
    {
        private readonly Dictionary<string, NormalEquations> _kept = [];
        public int Kept => _kept.Count;
        public int Found { get; private set; }

        public Task<NormalEquations?> Find(string key)
        {
            if (!_kept.TryGetValue(key, out NormalEquations? sums)) return Task.FromResult<NormalEquations?>(null);
            Found++;
            return Task.FromResult<NormalEquations?>(sums with { Gram = sums.Gram.clone(), Moments = sums.Moments.clone() });
        }

        public Task Keep(string key, NormalEquations sums)
        {
            _kept[key] = sums with
            {
                Gram = sums.Gram.clone().DetachFromDisposeScope(),
                Moments = sums.Moments.clone().DetachFromDisposeScope(),
            };
            return Task.CompletedTask;
        }
    }

    internal sealed record Problem(float[] X, Matrix Labels, string[] Ids, int D)
    {
        public int Rows => Ids.Length;

        public static Problem Random(int rows, int d, int k, ulong seed, double missing, double noise = 0.1)
        {
            ulong counter = 0;
            double Next() => CounterRandom.Uniform(seed, 99, counter++) * 2 - 1;
            float[] x = [.. Enumerable.Range(0, rows * d).Select(_ => (float)Next())];
            Matrix labels = new(rows, k);
            double[] truth = [.. Enumerable.Range(0, d * k).Select(_ => Next())];
            for (int i = 0; i < rows; i++)
            {
                for (int o = 0; o < k; o++)
                {
                    labels[i, o] = i >= k && (Next() + 1) / 2 < missing
                        ? double.NaN
                        : Enumerable.Range(0, d).Sum(j => truth[o * d + j] * x[i * d + j]) + noise * Next();
                }
            }
            return new Problem(x, labels, [.. Enumerable.Range(0, rows).Select(i => $"{seed}-{i}")], d);
        }

        public double Predict(double[] w, int row) => Enumerable.Range(0, D).Sum(j => w[j] * X[row * D + j]);

        public Task<RegressionFit> Fit(double[] alphas, IGramStore? store = null) =>
            new RidgeRegression(new ArrayRows(X, D), Labels, [.. Enumerable.Range(0, Labels.Columns).Select(o => $"objective-{o}")],
                Ids).Fit(alphas, store);

        public Problem WithCopiedColumn(int from, int to)
        {
            for (int i = 0; i < Rows; i++) X[i * D + to] = X[i * D + from];
            return this;
        }

        public Problem WithScaledColumn(int column, double factor)
        {
            for (int i = 0; i < Rows; i++) X[i * D + column] = (float)(X[i * D + column] * factor);
            return this;
        }

        public Problem Head(int rows) => Take([.. Enumerable.Range(0, rows)]);
        public Problem Reversed() => Take([.. Enumerable.Range(0, Rows).Reverse()]);

        private Problem Take(int[] rows)
        {
            return new Problem([.. rows.SelectMany(r => X.Skip(r * D).Take(D))], Labels.Gather(rows), [.. rows.Select(r => Ids[r])], D);
        }
    }
}
