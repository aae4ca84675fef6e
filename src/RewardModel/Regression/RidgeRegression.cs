using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Regression;

/// <summary>What the fit of one objective found. Errors are on the held-out rows, in squared units of the rescaled rating.</summary>
public sealed record ObjectiveFit
{
    /// <summary>The objective's name.</summary>
    public required string Name { get; init; }

    /// <summary>Rows that rate it.</summary>
    public required long Rows { get; init; }

    /// <summary>How many of these are held out.</summary>
    public required long HeldOutRows { get; init; }

    /// <summary>The α that was chosen.</summary>
    public required double Alpha { get; init; }

    /// <summary>Mean squared error with that α; null where nothing was validated.</summary>
    public required double? ValidationMse { get; init; }

    /// <summary>1 − error / variance with that α, at most 1; null where nothing was validated or all ratings are equal.</summary>
    public required double? ValidationR2 { get; init; }

    /// <summary>Validation error of every α tried, in the order given.</summary>
    public required IReadOnlyList<AlphaError> Alphas { get; init; }

    /// <summary>What a reader should know of this fit, or null.</summary>
    public string? Note { get; init; }
}

/// <summary>What one α of the grid gave.</summary>
/// <param name="Alpha">α.</param>
/// <param name="Mse">Mean squared error on the held-out rows; null where nothing was validated.</param>
public sealed record AlphaError(double Alpha, double? Mse);

/// <summary>The weights of all objectives, and how they were found.</summary>
/// <param name="Weight">W [k, d]; each value is one that float32 holds exactly.</param>
/// <param name="Objectives">How each row of W was found, k.</param>
public sealed record RegressionFit(Matrix Weight, IReadOnlyList<ObjectiveFit> Objectives);

/// <summary>
/// Linear probing (paper, section 3.1): for each objective, min ‖Xw − y‖² + α‖w‖² over the rows that rate it, no intercept.
/// α is chosen by the error on held-out rows, and w is then refitted on all of them.
/// </summary>
public sealed class RidgeRegression
{
    /// <summary>The default grid.</summary>
    public static readonly IReadOnlyList<double> DefaultAlphas = [0, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100, 1e3, 1e4];

    private readonly IFeatureRows _features;
    private readonly Matrix _labels;
    private readonly IReadOnlyList<string> _names;
    private readonly IReadOnlyList<string> _rowIds;
    private readonly bool[] _heldOut;
    private readonly int _k;

    /// <summary>Prepares a fit, and checks that each objective is rated.</summary>
    /// <param name="features">[n, d].</param>
    /// <param name="labels">[n, k], NaN where a rating is absent.</param>
    /// <param name="names">The k objectives.</param>
    /// <param name="rowIds">Each row's conversation id: it decides the split.</param>
    /// <exception cref="InvalidInputException">An objective has no rated row.</exception>
    public RidgeRegression(IFeatureRows features, Matrix labels, IReadOnlyList<string> names, IReadOnlyList<string> rowIds)
    {
        _features = features;
        _labels = labels;
        _names = names;
        _rowIds = rowIds;
        _k = names.Count;
        _heldOut = [.. rowIds.Select(id => HashSplit.IsHeldOut(id, "regression"))];
        for (int o = 0; o < _k; o++)
        {
            if (!Enumerable.Range(0, features.Count).Any(i => !double.IsNaN(labels[i, o])))
            {
                throw new InvalidInputException($"objective '{names[o]}'", "no row rates it", "at least one rated row for each objective",
                    "Add a source that rates it, or take it out of 'objectives'.");
            }
        }
    }

    /// <summary>Fits all objectives.</summary>
    /// <param name="alphas">The grid, each at least 0.</param>
    /// <param name="store">Where sums over prefixes of the rows are kept between runs.</param>
    /// <param name="progress">Told rows summed, of rows in all.</param>
    /// <param name="cancel">Checked between blocks.</param>
    public async Task<RegressionFit> Fit(IReadOnlyList<double> alphas, IGramStore? store = null, Action<int, int>? progress = null,
        CancellationToken cancel = default)
    {
        List<Cell> cells = Cells();
        try
        {
            await Sum(cells, store, progress, cancel);
            return Solve(cells, alphas, cancel);
        }
        finally
        {
            foreach (Cell cell in cells) cell.Sums?.Dispose();
        }
    }

    private RegressionFit Solve(List<Cell> cells, IReadOnlyList<double> alphas, CancellationToken cancel)
    {
        using DisposeScope scope = NewDisposeScope();
        using var noGradient = no_grad();
        Matrix weight = new(_k, _features.Dimension);
        ObjectiveFit[] fits = new ObjectiveFit[_k];
        // Objectives that the same rows rate share their Gram matrices, and so one factorisation for each α.
        foreach (IGrouping<string, int> group in Enumerable.Range(0, _k)
            .GroupBy(o => string.Concat(cells.Select(c => c.Present[o] ? '1' : '0'))))
        {
            cancel.ThrowIfCancellationRequested();
            int[] objectives = [.. group];
            FitGroup(objectives, [.. cells.Where(c => c.Present[objectives[0]])], alphas, weight, fits);
        }
        return new RegressionFit(weight, fits);
    }

    private sealed record Cell(bool[] Present, bool HeldOut, List<int> Rows)
    {
        public NormalEquations? Sums { get; set; }
    }

    /// <summary>Each row is summed once, in the cell of rows that rate the same objectives and are on the same side of the split.</summary>
    private List<Cell> Cells()
    {
        bool[][] presence = [.. Enumerable.Range(0, _features.Count)
            .Select(i => Enumerable.Range(0, _k).Select(o => !double.IsNaN(_labels[i, o])).ToArray())];
        List<Cell> cells = [.. Enumerable.Range(0, _features.Count).Where(i => presence[i].Any(p => p))
            .GroupBy(i => string.Concat(presence[i].Select(p => p ? '1' : '0')) + _heldOut[i])
            .Select(g => new Cell(presence[g.First()], _heldOut[g.First()], [.. g]))];
        if (cells.Count > 2 * _k) // ratings absent at random: cells by objective hold fewer matrices
        {
            cells = [.. Enumerable.Range(0, _k)
                .SelectMany(o => new[] { false, true }.Select(h => new Cell([.. Enumerable.Range(0, _k).Select(x => x == o)], h,
                    [.. Enumerable.Range(0, _features.Count).Where(i => presence[i][o] && _heldOut[i] == h)])))];
        }
        return cells;
    }

    private async Task Sum(List<Cell> cells, IGramStore? store, Action<int, int>? progress, CancellationToken cancel)
    {
        int total = cells.Sum(c => c.Rows.Count), done = 0;
        foreach (Cell cell in cells)
            cell.Sums = await GramAccumulation.Sum(_features, _labels, cell.Rows, cell.Present, _rowIds, store, Advance, cancel);

        void Advance(int rows)
        {
            done += rows;
            progress?.Invoke(done, total);
        }
    }

    /// <summary>Fits objectives that the same rows rate: chooses α by the held-out rows, then refits on all of them.</summary>
    private void FitGroup(int[] objectives, List<Cell> cells, IReadOnlyList<double> alphas, Matrix weight, ObjectiveFit[] fits)
    {
        using DisposeScope scope = NewDisposeScope();
        List<Cell> held = [.. cells.Where(c => c.HeldOut)];
        double[][]? errors = ValidationErrors([.. cells.Where(c => !c.HeldOut)], held, objectives, alphas);
        RidgeSystem all = System(cells, objectives);
        Dictionary<double, (Tensor Weights, string? Note)> refits = []; // objectives that settle on one α share its refit
        for (int j = 0; j < objectives.Length; j++)
        {
            int best = errors is null ? alphas.Count / 2 : IndexOfSmallest(errors, j);
            double alpha = alphas[best];
            if (!refits.ContainsKey(alpha)) refits[alpha] = all.Solve(alpha);
            (Tensor refit, string? note) = refits[alpha];
            using Tensor column = refit.select(1, j).to(ScalarType.Float32).contiguous();
            Matrix.Widen(column.data<float>().ToArray()).CopyTo(weight.Row(objectives[j]));
            double[]? own = errors is null ? null : [.. errors.Select(byObjective => byObjective[j])];
            fits[objectives[j]] = Describe(objectives[j], cells.Sum(c => c.Rows.Count), held, alphas, best, own, note);
        }
    }

    /// <summary>Squared errors on the held-out rows, by α and objective; null where the split leaves no row on one side.</summary>
    private double[][]? ValidationErrors(List<Cell> training, List<Cell> held, int[] objectives, IReadOnlyList<double> alphas)
    {
        bool canValidate = held.Any(c => c.Rows.Count > 0) && training.Any(c => c.Rows.Count > 0);
        if (!canValidate) return null;
        RidgeSystem system = System(training, objectives);
        Tensor candidates = cat([.. alphas.Select(a => system.Solve(a).Weights)], 1); // [d, alphas·objectives]
        return SquaredErrors(held, objectives, candidates, alphas.Count);
    }

    private static int IndexOfSmallest(double[][] errors, int objective)
    {
        int best = 0;
        for (int a = 1; a < errors.Length; a++)
            if (errors[a][objective] < errors[best][objective]) best = a;
        return best;
    }

    /// <param name="objective">The objective.</param>
    /// <param name="rows">All rows that rate it.</param>
    /// <param name="held">Those of them that are held out.</param>
    /// <param name="alphas">The grid.</param>
    /// <param name="best">Index of the α that was chosen.</param>
    /// <param name="errors">Squared error on the held-out rows for each α; null where nothing was validated.</param>
    /// <param name="note">What the solver says of the refit.</param>
    private ObjectiveFit Describe(int objective, int rows, List<Cell> held, IReadOnlyList<double> alphas, int best, double[]? errors,
        string? note)
    {
        const string NotValidated = "no row fell on one side of the split: α is the middle of the grid, and nothing was validated";
        int heldRows = held.Sum(c => c.Rows.Count);
        return new ObjectiveFit
        {
            Name = _names[objective],
            Rows = rows,
            HeldOutRows = heldRows,
            Alpha = alphas[best],
            ValidationMse = errors?[best] / heldRows,
            ValidationR2 = errors is null ? null : R2(held, objective, errors[best]),
            Alphas = [.. alphas.Select((alpha, a) => new AlphaError(alpha, errors?[a] / heldRows))],
            Note = errors is null ? NotValidated : note,
        };
    }

    private RidgeSystem System(List<Cell> cells, int[] objectives)
    {
        NormalEquations sums = cells.Select(c => c.Sums!).Aggregate((a, b) => a.Plus(b));
        Tensor columns = tensor([.. objectives.Select(o => (long)o)]);
        return new RidgeSystem(sums.Gram, sums.Moments.index_select(1, columns), w => Gradient(cells, objectives, w));
    }

    /// <summary>Xᵀ(Y − XW) from the rows themselves [d, m]: free of the Gram matrix's rounding.</summary>
    private Tensor Gradient(List<Cell> cells, int[] objectives, Tensor w)
    {
        Tensor gradient = zeros_like(w);
        foreach ((Tensor x, Tensor y) in Blocks(cells, objectives))
        {
            using DisposeScope scope = NewDisposeScope();
            gradient.add_(x.t().matmul(y - x.matmul(w)));
        }
        return gradient;
    }

    private double[][] SquaredErrors(List<Cell> cells, int[] objectives, Tensor candidates, int alphas)
    {
        Tensor sums = zeros([alphas * objectives.Length], ScalarType.Float64);
        foreach ((Tensor x, Tensor y) in Blocks(cells, objectives))
        {
            using DisposeScope scope = NewDisposeScope();
            sums.add_((x.matmul(candidates) - y.repeat([1, alphas])).Squared().sum(dim: 0));
        }
        double[] flat = sums.data<double>().ToArray();
        return [.. Enumerable.Range(0, alphas).Select(a => flat[(a * objectives.Length)..((a + 1) * objectives.Length)])];
    }

    private IEnumerable<(Tensor X, Tensor Y)> Blocks(List<Cell> cells, int[] objectives)
    {
        foreach (Cell cell in cells)
        {
            foreach (int[] block in cell.Rows.Chunk(GramAccumulation.BlockRows))
            {
                using Tensor x = _features.Block(block, ScalarType.Float64);
                using Tensor y =
                    tensor([.. block.SelectMany(i => objectives.Select(o => _labels[i, o]))], [block.Length, objectives.Length]);
                yield return (x, y);
            }
        }
    }

    private double? R2(List<Cell> held, int objective, double squaredError)
    {
        double[] values = [.. held.SelectMany(c => c.Rows).Select(i => _labels[i, objective])];
        double mean = values.Average(), spread = values.Sum(v => (v - mean) * (v - mean));
        return spread > 0 ? 1 - squaredError / spread : null;
    }
}
