using System.Globalization;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Gating;

/// <summary>Defaults are the paper's (section 3.2 and its experiments).</summary>
public sealed record GatingOptions
{
    /// <summary>Training steps.</summary>
    public int Steps { get; init; } = 10_000;

    /// <summary>Pairs that a step draws, with replacement.</summary>
    public int BatchSize { get; init; } = 1024;

    /// <summary>AdamW's learning rate at the start; it falls to 0 by a cosine.</summary>
    public double LearningRate { get; init; } = 1e-3;

    /// <summary>β at the start; it is trained too.</summary>
    public double Beta { get; init; } = 100;

    /// <summary>T of the softmax.</summary>
    public double Temperature { get; init; } = 1;

    /// <summary>Widths of the hidden layers.</summary>
    public IReadOnlyList<int> Hidden { get; init; } = [1024, 1024, 1024];

    /// <summary>Decides the initial weights and the batches.</summary>
    public ulong Seed { get; init; } = 17;
}

/// <summary>
/// Trains g(f(x)) = softmax(MLP(f(x))/T) by the Bradley–Terry loss −log σ(β(R_chosen − R_rejected)), R = g·r'. The softmax runs
/// over the objectives. A batch's distinct prompts pass the network once. The state at any step is a function of the options
/// and the pairs alone, so training may stop and go on anywhere.
/// </summary>
public sealed class GatingTrainer : IDisposable
{
    private const double Beta1 = 0.9, Beta2 = 0.999, Epsilon = 1e-8, WeightDecay = 0.01; // AdamW's usual values

    /// <summary>The loss curve has one point for each so many steps.</summary>
    public const int StepsPerCurvePoint = 50;

    private const ulong InitialWeights = 1, BatchRows = 2; // streams of the generator
    private const string ScaleName = "gating.logit_scale";

    private readonly GatingPairs _pairs;
    private readonly GatingOptions _options;
    private readonly IReadOnlyList<int> _rows;
    private readonly Tensor _prompts, _chosen, _rejected;
    private readonly List<Parameter> _parameters = [];
    private readonly List<double> _curve = [];
    private string? _loaded;

    /// <summary>Steps done so far.</summary>
    public int Step { get; private set; }

    /// <summary>Mean loss over each <see cref="StepsPerCurvePoint"/> steps so far, in nats.</summary>
    public IReadOnlyList<double> LossCurve => _curve;

    private sealed record Parameter(string Name, Tensor Value, Tensor Mean, Tensor Square, bool Decays) : IDisposable
    {
        public void Dispose()
        {
            Value.Dispose();
            Mean.Dispose();
            Square.Dispose();
        }
    }

    /// <summary>Prepares training at step 0.</summary>
    /// <param name="pairs">The preference pairs.</param>
    /// <param name="options">The same for all slices of one training.</param>
    /// <param name="rows">The pairs to train on; those that are not held out if null.</param>
    /// <exception cref="InvalidInputException">No pair is left to train on.</exception>
    public GatingTrainer(GatingPairs pairs, GatingOptions options, IReadOnlyList<int>? rows = null)
    {
        _pairs = pairs;
        _options = options;
        _rows = rows ?? pairs.Training;
        if (_rows.Count == 0)
        {
            throw new InvalidInputException("preferences", "no pair to train on", "pairs of at least a few prompts", "Add preference "
                + "data.");
        }
        _prompts = pairs.Prompts.Block([.. Enumerable.Range(0, pairs.Prompts.Count)], ScalarType.Float32);
        _chosen = pairs.Chosen.Values.ToTensor();
        _rejected = pairs.Rejected.Values.ToTensor();
        Reset();
    }

    /// <summary>The state before the first step, a function of the seed.</summary>
    private void Reset()
    {
        foreach (Parameter old in _parameters) old.Dispose();
        _parameters.Clear();
        _curve.Clear();
        Step = 0;
        _loaded = null;
        int inputs = _pairs.Prompts.Dimension;
        ulong counter = 0;
        int[] widths = [.. _options.Hidden, _pairs.Objectives];
        for (int layer = 0; layer < widths.Length; layer++)
        {
            double bound = 1 / Math.Sqrt(inputs); // Kaiming's uniform with a = √5, as for a linear layer in PyTorch
            Add($"gating.layers.{layer}.weight", Uniform(bound, widths[layer], inputs), decays: true);
            Add($"gating.layers.{layer}.bias", Uniform(bound, widths[layer]), decays: false);
            inputs = widths[layer];
        }
        Add(ScaleName, tensor([(float)_options.Beta]), decays: false);

        Tensor Uniform(double bound, params long[] shape)
        {
            float[] values = new float[shape.Aggregate(1L, (a, b) => a * b)];
            for (int i = 0; i < values.Length; i++)
                values[i] = (float)((2 * CounterRandom.Uniform(_options.Seed, InitialWeights, counter++) - 1) * bound);
            return tensor(values, shape);
        }
    }

    private void Add(string name, Tensor value, bool decays) =>
        _parameters.Add(new Parameter(name, value.requires_grad_(), zeros_like(value), zeros_like(value), decays));

    /// <summary>Trains up to a step.</summary>
    /// <param name="toStep">At most the options' number of steps.</param>
    /// <param name="progress">Told the step and its loss.</param>
    /// <param name="cancel">Checked between steps.</param>
    public void Advance(int toStep, Action<int, double>? progress = null, CancellationToken cancel = default)
    {
        toStep = Math.Min(toStep, _options.Steps);
        while (Step < toStep)
        {
            cancel.ThrowIfCancellationRequested();
            double loss = OneStep();
            if (Step % StepsPerCurvePoint == 0) _curve.Add(0);
            int within = Step % StepsPerCurvePoint;
            _curve[^1] += (loss - _curve[^1]) / (within + 1);
            Step++;
            progress?.Invoke(Step, loss);
        }
    }

    private double OneStep()
    {
        using DisposeScope scope = NewDisposeScope();
        (Tensor prompts, Tensor chosenPrompt, Tensor rejectedPrompt, Tensor rows) = Batch();
        Tensor x = _prompts.index_select(0, prompts); // [distinct prompts, d]
        for (int p = 0; p < _parameters.Count - 1; p += 2)
        {
            x = nn.functional.linear(x, _parameters[p].Value, _parameters[p + 1].Value);
            if (p < _parameters.Count - 3) x = x.relu();
        }
        Tensor gate = x.Over(_options.Temperature).softmax(-1); // [distinct prompts, k]
        Tensor chosen = (gate.index_select(0, chosenPrompt) * _chosen.index_select(0, rows)).sum(-1); // [batch]
        Tensor rejected = (gate.index_select(0, rejectedPrompt) * _rejected.index_select(0, rows)).sum(-1);
        Tensor loss = -nn.functional.logsigmoid(_parameters[^1].Value * (chosen - rejected)).mean();
        loss.backward();
        Update();
        return loss.item<float>();
    }

    private (Tensor Prompts, Tensor Chosen, Tensor Rejected, Tensor Rows) Batch()
    {
        int n = _options.BatchSize;
        long[] rows = new long[n], chosen = new long[n], rejected = new long[n];
        Dictionary<int, long> position = [];
        for (int i = 0; i < n; i++)
        {
            int row = _rows[CounterRandom.Index(_options.Seed, BatchRows, (ulong)Step * (ulong)n + (ulong)i, _rows.Count)];
            rows[i] = row;
            chosen[i] = Position(_pairs.PromptOf[row].Chosen);
            rejected[i] = Position(_pairs.PromptOf[row].Rejected);
        }
        return (tensor([.. position.Keys.Select(p => (long)p)]), tensor(chosen), tensor(rejected), tensor(rows));

        long Position(int prompt)
        {
            position.TryAdd(prompt, position.Count);
            return position[prompt];
        }
    }

    /// <summary>AdamW (Loshchilov and Hutter 2019) under a cosine schedule to 0.</summary>
    private void Update()
    {
        using var noGradient = no_grad();
        double rate = _options.LearningRate * 0.5 * (1 + Math.Cos(Math.PI * Step / _options.Steps));
        double correction1 = 1 - Math.Pow(Beta1, Step + 1), correction2 = 1 - Math.Pow(Beta2, Step + 1);
        foreach (Parameter p in _parameters)
        {
            Tensor gradient = p.Value.grad!;
            if (p.Decays) p.Value.Multiply(1 - rate * WeightDecay);
            p.Mean.Multiply(Beta1).AddScaled(gradient, 1 - Beta1);
            p.Square.Multiply(Beta2).AddProduct(gradient, gradient, 1 - Beta2);
            p.Value.AddQuotient(p.Mean, p.Square.sqrt().Divide(Math.Sqrt(correction2)).Add(Epsilon), -rate / correction1);
            gradient.zero_();
        }
    }

    /// <summary>The trained gate.</summary>
    public GatingNetwork Network()
    {
        IEnumerable<GatingLayer> layers = _parameters.SkipLast(1).Chunk(2).Select(layer => Layer(weight: layer[0], bias: layer[1]));
        return new GatingNetwork([.. layers], Floats(_parameters[^1])[0], _options.Temperature);

        static GatingLayer Layer(Parameter weight, Parameter bias) =>
            new(Matrix.Of(Floats(weight), (int)weight.Value.shape[1]), Matrix.Widen(Floats(bias)));

        static float[] Floats(Parameter p) => p.Value.detach().data<float>().ToArray();
    }

    /// <summary>Writes everything that the next step depends on: weights, both moments, the step, and the loss curve.</summary>
    public void Save(string path)
    {
        using DisposeScope scope = NewDisposeScope();
        SafetensorsFile.Write(path,
            [
                .. _parameters.SelectMany(p => new[] { (p.Name, p.Value), (p.Name + ".mean", p.Mean), (p.Name + ".square", p.Square) }),
                ("curve", tensor([.. _curve, 0.0]))
            ],
                new Dictionary<string, string> { ["step"] = Step.ToString(CultureInfo.InvariantCulture) });
        _loaded = Stamp(path);
    }

    /// <summary>Makes the state that of a file, or of step 0; reads the file only if the state in memory is not already its.</summary>
    public void Rewind(string? path)
    {
        if (path is not null && _loaded == Stamp(path)) return;
        if (path is not null) Load(path);
        else if (Step > 0) Reset();
    }

    /// <summary>Goes on from a saved state.</summary>
    public void Load(string path)
    {
        using DisposeScope scope = NewDisposeScope();
        using var noGradient = no_grad();
        using SafetensorsFile file = new(path);
        foreach (Parameter p in _parameters)
        {
            p.Value.copy_(file.Load(p.Name));
            p.Mean.copy_(file.Load(p.Name + ".mean"));
            p.Square.copy_(file.Load(p.Name + ".square"));
        }
        _curve.Clear();
        _curve.AddRange(file.Load("curve").data<double>().ToArray()[..^1]);
        Step = int.Parse(file.Metadata["step"], CultureInfo.InvariantCulture);
        _loaded = Stamp(path);
    }

    private string Stamp(string path) =>
        string.Create(CultureInfo.InvariantCulture, $"{path} {Step} {File.GetLastWriteTimeUtc(path).Ticks}");

    /// <inheritdoc/>
    public void Dispose()
    {
        _prompts.Dispose();
        _chosen.Dispose();
        _rejected.Dispose();
        foreach (Parameter p in _parameters) p.Dispose();
    }
}
