using ArmoFlow.RewardModel.Tensors;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Features;

/// <summary>
/// Rows of float32 features [count, dimension], wherever they lie; copied out a block at a time so that they need not fit in
/// memory.
/// </summary>
public interface IFeatureRows
{
    /// <summary>The number of rows, n.</summary>
    int Count { get; }

    /// <summary>The length of a row, d.</summary>
    int Dimension { get; }

    /// <summary>Copies a row out.</summary>
    /// <param name="row">Counted from 0.</param>
    /// <param name="into">[d].</param>
    void Copy(int row, Span<float> into);
}

/// <summary>What all rows of features can do.</summary>
public static class FeatureRows
{
    /// <summary>A copy of one row [dimension].</summary>
    /// <param name="features">The rows.</param>
    /// <param name="row">Counted from 0.</param>
    public static float[] Row(this IFeatureRows features, int row)
    {
        float[] values = new float[features.Dimension];
        features.Copy(row, values);
        return values;
    }

    /// <summary>Gathers rows into a tensor [rows.Length, dimension] of the given type.</summary>
    public static Tensor Block(this IFeatureRows features, ReadOnlySpan<int> rows, ScalarType type)
    {
        float[] values = new float[rows.Length * features.Dimension];
        for (int i = 0; i < rows.Length; i++) features.Copy(rows[i], values.AsSpan(i * features.Dimension, features.Dimension));
        using Tensor single = tensor(values, [rows.Length, features.Dimension]);
        return single.to(type, copy: true);
    }
}

/// <summary>Rows that lie in an array, row-major.</summary>
public sealed class ArrayRows(float[] values, int dimension) : IFeatureRows
{
    /// <inheritdoc/>
    public int Count => values.Length / dimension;

    /// <inheritdoc/>
    public int Dimension => dimension;

    /// <inheritdoc/>
    public void Copy(int row, Span<float> into) => values.AsSpan(row * dimension, dimension).CopyTo(into);
}

/// <summary>
/// Every stride-th row of a tensor of safetensors files laid end to end; a [n, 2, d] tensor has its sides at stride 2.
/// F32 rows stay in the file; another float type is converted as a whole.
/// </summary>
public sealed class SafetensorsRows : IFeatureRows
{
    private readonly (SafetensorsFile File, TensorEntry Entry, int Begin, float[]? Converted)[] _parts;
    private readonly int _stride, _offset;

    /// <inheritdoc/>
    public int Count { get; }

    /// <inheritdoc/>
    public int Dimension { get; }

    /// <summary>Rows of files laid end to end.</summary>
    /// <exception cref="InvalidInputException">A file lacks the tensor, it holds whole numbers or has another rank, or the dimensions
    /// differ.</exception>
    public SafetensorsRows(IEnumerable<SafetensorsFile> files, string tensor, int rank, int stride = 1, int offset = 0)
    {
        List<(SafetensorsFile, TensorEntry, int, float[]?)> parts = [];
        foreach (SafetensorsFile file in files)
        {
            TensorEntry entry = file.Entry(tensor);
            if (entry.Shape.Length != rank || (rank == 3 && entry.Shape[1] != stride))
            {
                throw new InvalidInputException(file.Path, $"tensor '{tensor}' of shape [{string.Join(", ", entry.Shape)}]",
                    rank == 3 ? $"[n, {stride}, d]" : "[n, d]", "Check that this is the right features file.");
            }
            if (parts.Count > 0 && entry.Shape[^1] != Dimension)
            {
                throw new InvalidInputException(file.Path, $"features of {entry.Shape[^1]} dimensions",
                    $"{Dimension}, as in the files before", "Use features of one backbone.");
            }
            file.FloatEntry(tensor);
            Dimension = (int)entry.Shape[^1];
            parts.Add((file, entry, Count, entry.DType == "F32" ? null : file.LoadFloats(tensor)));
            Count += (int)entry.Shape[0];
        }
        _parts = [.. parts];
        _stride = stride;
        _offset = offset;
    }

    /// <inheritdoc/>
    public void Copy(int row, Span<float> into)
    {
        int part = _parts.Length - 1;
        while (_parts[part].Begin > row) part--;
        long at = (long)(row - _parts[part].Begin) * _stride + _offset;
        if (_parts[part].Converted is { } values) values.AsSpan((int)at * Dimension, Dimension).CopyTo(into);
        else _parts[part].File.ReadRow(_parts[part].Entry, at, into);
    }
}
