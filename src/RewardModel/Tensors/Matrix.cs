using System.Numerics;
using System.Runtime.InteropServices;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tensors;

/// <summary>
/// A matrix [rows, columns] of float64 values in memory: labels and rewards [n, k], weights [k, d], transforms [k, k]. What needs more
/// than products of rows is done with tensors.
/// </summary>
public sealed class Matrix
{
    private readonly double[] _values; // row-major

    /// <summary>The number of rows.</summary>
    public int Rows { get; }

    /// <summary>The number of columns.</summary>
    public int Columns { get; }

    /// <summary>A matrix of zeros.</summary>
    /// <param name="rows">The number of rows.</param>
    /// <param name="columns">The number of columns.</param>
    public Matrix(int rows, int columns)
    {
        Rows = rows;
        Columns = columns;
        _values = new double[rows * columns];
    }

    /// <summary>A matrix of float32 values, which float64 holds exactly.</summary>
    /// <param name="values">Row-major, a whole number of rows.</param>
    /// <param name="columns">The number of columns.</param>
    /// <exception cref="ArgumentException">The values do not fill whole rows.</exception>
    public static Matrix Of(ReadOnlySpan<float> values, int columns)
    {
        if (columns <= 0 || values.Length % columns != 0)
            throw new ArgumentException($"{values.Length} values do not fill rows of {columns}", nameof(values));
        Matrix matrix = new(values.Length / columns, columns);
        Widen(values, matrix._values);
        return matrix;
    }

    /// <summary>One value, to read or to set.</summary>
    /// <param name="row">Counted from 0.</param>
    /// <param name="column">Counted from 0.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no such row.</exception>
    /// <exception cref="IndexOutOfRangeException">There is no such column.</exception>
    public ref double this[int row, int column] => ref Row(row)[column];

    /// <summary>A row, to read or to set.</summary>
    /// <param name="row">Counted from 0.</param>
    public Span<double> Row(int row) => _values.AsSpan(row * Columns, Columns);

    /// <summary>A copy of a column.</summary>
    /// <param name="column">Counted from 0.</param>
    public double[] Column(int column)
    {
        double[] values = new double[Rows];
        for (int i = 0; i < Rows; i++) values[i] = this[i, column];
        return values;
    }

    /// <summary>Row i of the result is row <paramref name="rows"/>[i] of this matrix.</summary>
    /// <param name="rows">The rows to take, in order; a row may come more than once.</param>
    public Matrix Gather(IReadOnlyList<int> rows)
    {
        Matrix gathered = new(rows.Count, Columns);
        for (int i = 0; i < rows.Count; i++) Row(rows[i]).CopyTo(gathered.Row(i));
        return gathered;
    }

    /// <summary>The product with a column vector, by a sum whose order does not depend on the other rows.</summary>
    /// <param name="vector">As long as a row.</param>
    /// <param name="into">One value for each row.</param>
    public void Times(ReadOnlySpan<double> vector, Span<double> into)
    {
        for (int i = 0; i < Rows; i++) into[i] = Dot(Row(i), vector);
    }

    /// <summary>The same values as a tensor [rows, columns]; the caller disposes it.</summary>
    /// <param name="type">The tensor's element type.</param>
    public Tensor ToTensor(ScalarType type = ScalarType.Float32)
    {
        using Tensor wide = tensor(_values, [Rows, Columns]);
        return wide.to(type, copy: true);
    }

    /// <summary>Float32 values as float64.</summary>
    internal static double[] Widen(ReadOnlySpan<float> values)
    {
        double[] wide = new double[values.Length];
        Widen(values, wide);
        return wide;
    }

    private static void Widen(ReadOnlySpan<float> values, Span<double> into)
    {
        for (int i = 0; i < values.Length; i++) into[i] = values[i];
    }

    private static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        ReadOnlySpan<Vector<double>> wideA = MemoryMarshal.Cast<double, Vector<double>>(a);
        ReadOnlySpan<Vector<double>> wideB = MemoryMarshal.Cast<double, Vector<double>>(b);
        Vector<double> sums = Vector<double>.Zero;
        for (int i = 0; i < wideA.Length; i++) sums += wideA[i] * wideB[i];
        double sum = Vector.Sum(sums);
        for (int i = wideA.Length * Vector<double>.Count; i < a.Length; i++) sum += a[i] * b[i];
        return sum;
    }
}
