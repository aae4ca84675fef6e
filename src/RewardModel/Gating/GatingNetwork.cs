using System.Globalization;
using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Gating;

/// <summary>One affine layer, x → W x + b.</summary>
/// <param name="Weight">W [out, in].</param>
/// <param name="Bias">b [out].</param>
public sealed record GatingLayer(Matrix Weight, double[] Bias)
{
    internal double[] Apply(double[] x)
    {
        double[] y = new double[Bias.Length];
        Weight.Times(x, y);
        for (int o = 0; o < y.Length; o++) y[o] += Bias[o];
        return y;
    }
}

/// <summary>A trained gate: prompt features to one coefficient for each objective, in float64 and row by row.</summary>
/// <param name="layers">From the first hidden layer to the output; ReLU stands between them.</param>
/// <param name="beta">β, which scales a score.</param>
/// <param name="temperature">T of the softmax.</param>
public sealed class GatingNetwork(IReadOnlyList<GatingLayer> layers, float beta, double temperature)
{
    /// <summary>β, which scales a score: 'gating.logit_scale' of the released layout.</summary>
    public float Beta => beta;

    /// <summary>T of the softmax.</summary>
    public double Temperature => temperature;

    /// <summary>The dimension of a prompt's features, d.</summary>
    public int Inputs => layers[0].Weight.Columns;

    /// <summary>The number of objectives, k.</summary>
    public int Objectives => layers[^1].Bias.Length;

    /// <summary>The widths of the hidden layers.</summary>
    public IReadOnlyList<int> Hidden => [.. layers.SkipLast(1).Select(l => l.Bias.Length)];

    /// <summary>softmax(MLP(f(x))/T): k coefficients that sum to 1.</summary>
    /// <param name="prompt">f(x) [d].</param>
    public double[] Coefficients(ReadOnlySpan<float> prompt)
    {
        double[] x = Matrix.Widen(prompt);
        foreach (GatingLayer hidden in layers.SkipLast(1))
        {
            x = hidden.Apply(x);
            for (int i = 0; i < x.Length; i++) x[i] = Math.Max(0, x[i]);
        }
        return Softmax(layers[^1].Apply(x));
    }

    private double[] Softmax(double[] logits)
    {
        double top = logits.Max(), sum = 0;
        double[] shares = new double[logits.Length];
        for (int i = 0; i < shares.Length; i++)
        {
            shares[i] = Math.Exp((logits[i] - top) / temperature);
            sum += shares[i];
        }
        for (int i = 0; i < shares.Length; i++) shares[i] /= sum;
        return shares;
    }

    /// <summary>Tensors under their names in the released layout; the caller disposes them.</summary>
    public IEnumerable<(string Name, Tensor Value)> Tensors()
    {
        for (int l = 0; l < layers.Count; l++)
        {
            yield return ($"gating.layers.{l}.weight", layers[l].Weight.ToTensor());
            yield return ($"gating.layers.{l}.bias", tensor(layers[l].Bias, ScalarType.Float32));
        }
        yield return ("gating.logit_scale", tensor([beta]));
    }

    /// <summary>Writes the gate as a safetensors file, with the temperature in its metadata.</summary>
    /// <param name="path">The file to write.</param>
    public void Save(string path)
    {
        using DisposeScope scope = NewDisposeScope();
        SafetensorsFile.Write(path, [.. Tensors()],
            new Dictionary<string, string> { ["gating_temperature"] = Temperature.ToString("R", CultureInfo.InvariantCulture) });
    }

    /// <summary>Reads a gate from a file that holds gating.layers.0, 1, … and gating.logit_scale.</summary>
    /// <param name="file">The file.</param>
    /// <param name="temperature">T, where the file's metadata does not give it.</param>
    /// <exception cref="InvalidInputException">A tensor is missing or its shape does not follow from the others.</exception>
    public static GatingNetwork Load(SafetensorsFile file, double temperature = 1)
    {
        List<GatingLayer> layers = [];
        long? inputs = null;
        for (int l = 0; l == 0 || file.Entries.ContainsKey($"gating.layers.{l}.weight"); l++)
        {
            TensorEntry weight = file.Entry($"gating.layers.{l}.weight"), bias = file.Entry($"gating.layers.{l}.bias");
            if (weight.Shape.Length != 2
                || (inputs is { } i && weight.Shape[1] != i)
                || bias.Shape.Length != 1
                || bias.Shape[0] != weight.Shape[0])
            {
                throw new InvalidInputException(file.Path,
                    $"gating.layers.{l} of shape [{string.Join(", ", weight.Shape)}], bias [{string.Join(", ", bias.Shape)}]",
                    inputs is null ? "[out, in] and [out]" : $"[out, {inputs}] and [out]", "The file is not a gate; check the path.");
            }
            inputs = weight.Shape[0];
            layers.Add(new GatingLayer(file.LoadMatrix(weight.Name), Matrix.Widen(file.LoadFloats(bias.Name))));
        }
        if (file.Metadata.TryGetValue("gating_temperature", out string? stored))
            temperature = double.Parse(stored, CultureInfo.InvariantCulture);
        return new GatingNetwork(layers, file.LoadFloats("gating.logit_scale")[0], temperature);
    }
}
