using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Regression;

/// <summary>XᵀX [d, d] and XᵀY [d, k] over some rows, in float64; they add up over disjoint rows.</summary>
public sealed record NormalEquations(Tensor Gram, Tensor Moments, long Rows) : IDisposable
{
    /// <summary>Sums over no rows.</summary>
    /// <param name="dimension">d.</param>
    /// <param name="objectives">k.</param>
    public static NormalEquations Zero(int dimension, int objectives) =>
        new(zeros([dimension, dimension], ScalarType.Float64), zeros([dimension, objectives], ScalarType.Float64), 0);

    /// <summary>Sums over the rows of both.</summary>
    /// <param name="other">Sums over other rows.</param>
    public NormalEquations Plus(NormalEquations other) => new(Gram + other.Gram, Moments + other.Moments, Rows + other.Rows);

    /// <inheritdoc/>
    public void Dispose()
    {
        Gram.Dispose();
        Moments.Dispose();
    }
}

/// <summary>Where the sums over a prefix of rows are kept between runs.</summary>
public interface IGramStore
{
    /// <summary>The sums that were kept under a key; null where there are none.</summary>
    /// <param name="key">A hash of the rows.</param>
    Task<NormalEquations?> Find(string key);

    /// <summary>Keeps sums under a key.</summary>
    /// <param name="key">A hash of the rows.</param>
    /// <param name="sums">The sums over these rows.</param>
    Task Keep(string key, NormalEquations sums);
}

/// <summary>
/// Sums over rows with one pattern of present ratings, a block at a time in fixed order. The sums after the last whole block
/// are kept under a hash of everything before it, so that a retrain adds only the new rows, and adds them exactly as a
/// computation from scratch would.
/// </summary>
internal static class GramAccumulation
{
    public const int BlockRows = 1024;

    /// <param name="features">[n, d].</param>
    /// <param name="labels">[n, k], NaN where absent.</param>
    /// <param name="rows">The rows to sum over, in order.</param>
    /// <param name="present">Objectives that all these rows rate; the moments of the others are 0.</param>
    /// <param name="rowIds">Identity of each row's features, for the key.</param>
    /// <param name="store">Where prefixes are kept, if anywhere.</param>
    /// <param name="advance">Told the rows finished.</param>
    /// <param name="cancel">Checked between blocks.</param>
    public static async Task<NormalEquations> Sum(IFeatureRows features, Matrix labels, IReadOnlyList<int> rows, bool[] present,
        IReadOnlyList<string> rowIds, IGramStore? store, Action<int> advance, CancellationToken cancel)
    {
        int whole = rows.Count / BlockRows, done = 0;
        string[] keys = store is null ? [] : PrefixKeys(labels, rows, rowIds, whole);
        NormalEquations sums = NormalEquations.Zero(features.Dimension, present.Length);
        for (int b = keys.Length; b > 0 && done == 0; b--)
        {
            if (await store!.Find(keys[b - 1]) is not { } kept) continue;
            sums.Dispose();
            sums = kept;
            done = b;
            advance(b * BlockRows);
        }
        int found = done;
        for (; done * BlockRows < rows.Count; done++)
        {
            cancel.ThrowIfCancellationRequested();
            int[] block = [.. rows.Skip(done * BlockRows).Take(BlockRows)];
            sums = Add(sums, features, labels, block, present);
            if (store is not null && done + 1 == whole && whole > found) await store.Keep(keys[^1], sums);
            advance(block.Length);
        }
        return sums;
    }

    private static NormalEquations Add(NormalEquations sums, IFeatureRows features, Matrix labels, int[] block, bool[] present)
    {
        using DisposeScope scope = NewDisposeScope();
        using var noGradient = no_grad();
        Tensor x = features.Block(block, ScalarType.Float64); // [rows, d]
        double[] y = new double[block.Length * present.Length];
        for (int i = 0; i < block.Length; i++)
        {
            for (int o = 0; o < present.Length; o++)
                if (present[o]) y[i * present.Length + o] = labels[block[i], o];
        }
        Tensor transposed = x.t();
        sums.Gram.add_(transposed.matmul(x));
        sums.Moments.add_(transposed.matmul(tensor(y, [block.Length, present.Length])));
        return sums with { Rows = sums.Rows + block.Length };
    }

    private static string[] PrefixKeys(Matrix labels, IReadOnlyList<int> rows, IReadOnlyList<string> rowIds, int whole)
    {
        string[] keys = new string[whole];
        string chain = "";
        for (int b = 0; b < whole; b++)
        {
            StringBuilder text = new(chain);
            for (int i = b * BlockRows; i < (b + 1) * BlockRows; i++)
            {
                text.Append('\n').Append(rowIds[rows[i]]);
                for (int o = 0; o < labels.Columns; o++)
                    text.Append(' ').Append(labels[rows[i], o].ToString("R", CultureInfo.InvariantCulture));
            }
            chain = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
            keys[b] = chain;
        }
        return keys;
    }
}
