using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Regression;

/// <summary>(G + αI) W = B for many α, with G = XᵀX [d, d] and B = XᵀY [d, m].</summary>
/// <param name="gram">G, float64.</param>
/// <param name="moments">B, float64.</param>
/// <param name="gradient">Xᵀ(Y − XW) computed from the rows, for refinement.</param>
internal sealed class RidgeSystem(Tensor gram, Tensor moments, Func<Tensor, Tensor> gradient)
{
    /// <summary>
    /// Squared pivot ratios bound the condition number from below; past this one, refinement against the rows restores the digits
    /// that forming G cost.
    /// </summary>
    private const double IllConditioned = 1e4;
    private const double Singular = 1e13;
    private const int Refinements = 3;
    private const double DoublePrecision = 2.2204460492503131e-16;
    private (Tensor Values, Tensor Vectors)? _eigen;

    /// <summary>
    /// Cholesky, refined against the rows where the system is ill-conditioned; for α = 0 and a singular G, the minimum-norm
    /// solution.
    /// </summary>
    public (Tensor Weights, string? Note) Solve(double alpha)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor system = gram.clone();
        system.diagonal().Add(alpha);
        (Tensor factor, Tensor info) = linalg.cholesky_ex(system);
        double condition = info.item<int>() == 0
            ? Math.Pow(factor.diagonal().max().item<double>() / factor.diagonal().min().item<double>(), 2)
            : double.PositiveInfinity;
        (Tensor weights, string? note) = alpha == 0 && condition > Singular ? MinimumNorm() : (Factored(alpha, factor, condition), null);
        return (weights.MoveToOuterDisposeScope(), note);
    }

    /// <summary>By the Cholesky factor, refined where the system is ill-conditioned; by eigenvalues where there is no factor.</summary>
    private Tensor Factored(double alpha, Tensor factor, double condition)
    {
        if (double.IsInfinity(condition)) return Spectral(alpha);
        int refinements = condition > IllConditioned ? Refinements : 0;
        return Refine(cholesky_solve(moments, factor), alpha, b => cholesky_solve(b, factor), refinements);
    }

    /// <summary>The least-squares solution of least norm: eigenvectors whose eigenvalue is rounding noise are left out.</summary>
    private (Tensor, string?) MinimumNorm()
    {
        (Tensor values, Tensor vectors) = Eigen();
        long d = values.shape[0];
        Tensor kept = values > values.max().Times(d).Times(DoublePrecision);
        Tensor inverse = where(kept, values.reciprocal(), zeros_like(values)).unsqueeze(1);
        Tensor Project(Tensor b) => vectors.matmul(inverse * vectors.t().matmul(b));
        return (Refine(Project(moments), 0, Project, Refinements), $"rank {kept.sum().item<long>()} of {d}: the minimum-norm solution");
    }

    /// <summary>For an α below the rounding noise of G, where Cholesky breaks down.</summary>
    private Tensor Spectral(double alpha)
    {
        (Tensor values, Tensor vectors) = Eigen();
        Tensor inverse = values.AtLeast(0).Plus(alpha).reciprocal().unsqueeze(1);
        Tensor Project(Tensor b) => vectors.matmul(inverse * vectors.t().matmul(b));
        return Refine(Project(moments), alpha, Project, Refinements);
    }

    private Tensor Refine(Tensor w, double alpha, Func<Tensor, Tensor> solve, int times)
    {
        for (int i = 0; i < times; i++) w = w + solve(gradient(w) - w.Times(alpha));
        return w;
    }

    private (Tensor Values, Tensor Vectors) Eigen()
    {
        if (_eigen is null)
        {
            (Tensor values, Tensor vectors) = linalg.eigh(gram);
            _eigen = (values.MoveToOuterDisposeScope(), vectors.MoveToOuterDisposeScope());
        }
        return _eigen.Value;
    }
}
