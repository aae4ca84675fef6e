using System.Globalization;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Gating;

/// <summary>A trained gate: prompt features to one coefficient for each objective, in float64 and row by row.</summary>
public sealed class GatingNetwork
{
    private readonly DenseLayer[] _layers;
    private readonly float[][] _parameters; // weight and bias of each layer in turn, weights row-major [out, in]

    public float Beta { get; }
    public double Temperature { get; }
    public int Inputs => _layers[0].Inputs;
    public int Objectives => _parameters[^1].Length;
    public IReadOnlyList<int> Hidden => [.. Enumerable.Range(0, _layers.Length - 1).Select(i => _parameters[2 * i + 1].Length)];

    public GatingNetwork(float[][] parameters, float beta, double temperature)
    {
        _parameters = parameters;
        Beta = beta;
        Temperature = temperature;
        _layers = [.. Enumerable.Range(0, parameters.Length / 2).Select(i => new DenseLayer(parameters[2 * i], parameters[2 * i + 1]))];
    }

    /// <summary>softmax(MLP(f(x))/T): k coefficients that sum to 1.</summary>
    public double[] Coefficients(ReadOnlySpan<float> prompt)
    {
        double[] x = new double[prompt.Length];
        for (int i = 0; i < x.Length; i++) x[i] = prompt[i];
        for (int l = 0; l < _layers.Length; l++)
        {
            x = _layers[l].Apply(x);
            if (l < _layers.Length - 1)
                for (int i = 0; i < x.Length; i++) x[i] = Math.Max(0, x[i]);
        }
        double top = x.Max(), sum = 0;
        for (int i = 0; i < x.Length; i++) sum += x[i] = Math.Exp((x[i] - top) / Temperature);
        for (int i = 0; i < x.Length; i++) x[i] /= sum;
        return x;
    }

    /// <summary>Tensors under their names in the released layout; the caller disposes them.</summary>
    public IEnumerable<(string Name, Tensor Value)> Tensors()
    {
        for (int l = 0; l < _layers.Length; l++)
        {
            yield return ($"gating.layers.{l}.weight", tensor(_parameters[2 * l], [_parameters[2 * l + 1].Length, _layers[l].Inputs]));
            yield return ($"gating.layers.{l}.bias", tensor(_parameters[2 * l + 1]));
        }
        yield return ("gating.logit_scale", tensor([Beta]));
    }

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
        List<float[]> parameters = [];
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
            parameters.Add(file.LoadFloats(weight.Name));
            parameters.Add(file.LoadFloats(bias.Name));
        }
        if (file.Metadata.TryGetValue("gating_temperature", out string? stored))
            temperature = double.Parse(stored, CultureInfo.InvariantCulture);
        return new GatingNetwork([.. parameters], file.LoadFloats("gating.logit_scale")[0], temperature);
    }
}
