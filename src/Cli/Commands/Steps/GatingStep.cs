using System.CommandLine;
using System.Globalization;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Cli.Commands.Steps;

internal static class GatingStep
{
    private static readonly GatingOptions Defaults = new();
    private static readonly Option<string> Features = StepFiles.File("--features", "Features of preference pairs."),
        Regression = StepFiles.File("--regression", "weight [k, d]."),
        Transform = StepFiles.File("--transform", "reward_transform_matrix [k, k]."),
        Output = StepFiles.File("--out", "The safetensors file to write: gating.layers.N.weight|bias, gating.logit_scale.");
    private static readonly Option<int> Steps = Number("--steps", "Training steps.", Defaults.Steps),
        Batch = Number("--batch", "Pairs a step.", Defaults.BatchSize),
        Hidden = Number("--hidden", "Width of the hidden layers.", Defaults.Hidden[0]),
        Layers = Number("--layers", "Hidden layers.", Defaults.Hidden.Count);
    private static readonly Option<double> Rate = Real("--lr", "AdamW's learning rate, falling to 0 by a cosine.", Defaults.LearningRate),
        Beta = Real("--beta", "β at the start.", Defaults.Beta),
        Temperature = Real("--temperature", "T of the softmax.", Defaults.Temperature);
    private static readonly Option<long> Seed = Number("--seed", "Decides the initial weights and the batches.", (long)Defaults.Seed);
    private static readonly Option<string?> Report = StepFiles.Optional("--report", "JSON with the loss curve and the accuracies.");

    public static Command Command()
    {
        Command command = new("gating", "Trains the gate by the Bradley–Terry loss.")
        {
            Features,
            Regression,
            Transform,
            Output,
            Steps,
            Batch,
            Rate,
            Beta,
            Temperature,
            Hidden,
            Layers,
            Seed,
            Report
        };
        command.SetAction(Run);
        return command;
    }

    private static Task<int> Run(ParseResult parsed, CancellationToken cancel)
    {
        GatingOptions options = Given(parsed);
        using SafetensorsFile file = new(parsed.GetRequiredValue(Features)), weights = new(parsed.GetRequiredValue(Regression)),
            matrix = new(parsed.GetRequiredValue(Transform));
        GatingPairs pairs = Pairs(file, weights.LoadMatrix("weight"), matrix.LoadMatrix("reward_transform_matrix"), cancel);
        using GatingTrainer trainer = new(pairs, options);
        trainer.Advance(options.Steps,
            (step, loss) =>
                StepFiles.Progress(string.Create(CultureInfo.InvariantCulture, $"steps, loss {loss:f4}"), step, options.Steps),
            cancel);
        GatingNetwork gate = trainer.Network();
        gate.Save(parsed.GetRequiredValue(Output));
        PairScores scores = PairScores.Compute(pairs, gate);
        double? held = scores.Accuracy(pairs.HeldOut), trained = scores.Accuracy(pairs.Training);
        StepFiles.WriteReport(parsed.GetValue(Report),
            new
            {
                options,
                trainingPairs = pairs.Training.Count,
                heldOutPairs = pairs.HeldOut.Count,
                trainingAccuracy = trained,
                heldOutAccuracy = held,
                beta = gate.Beta,
                lossCurve = trainer.LossCurve,
                ties = scores.TieShare
            });
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"held-out accuracy {held:p1} on {pairs.HeldOut.Count:N0} pairs, {trained:p1} on the {pairs.Training.Count:N0} trained "
                + $"on; β = {gate.Beta:f2}"));
        return Task.FromResult(ExitCodes.Done);
    }

    private static GatingOptions Given(ParseResult parsed)
    {
        int layers = parsed.GetValue(Layers);
        if (layers < 0) throw new UsageException("--layers: expected at least 0. Correct the value.");
        return new GatingOptions
        {
            Steps = Positive(parsed, Steps),
            BatchSize = Positive(parsed, Batch),
            LearningRate = Positive(parsed, Rate),
            Beta = Positive(parsed, Beta),
            Temperature = Positive(parsed, Temperature),
            Hidden = [.. Enumerable.Repeat(Positive(parsed, Hidden), layers)],
            Seed = (ulong)parsed.GetValue(Seed),
        };
    }

    /// <summary>Pairs of a features file; prompts with equal features are one prompt.</summary>
    private static GatingPairs Pairs(SafetensorsFile file, Matrix weight, Matrix transform, CancellationToken cancel)
    {
        SafetensorsRows[] prompts = [Side("prompt_embeddings", 0), Side("prompt_embeddings", 1)];
        string[][] hashes = [StepFiles.Hashes(prompts[0]), StepFiles.Hashes(prompts[1])];
        Dictionary<string, int> row = [];
        List<string> ids = [];
        List<float> values = [];
        float[] buffer = new float[prompts[0].Dimension];
        int Find(int side, int i)
        {
            if (row.TryGetValue(hashes[side][i], out int at)) return at;
            prompts[side].Copy(i, buffer);
            values.AddRange(buffer);
            ids.Add(hashes[side][i]);
            return row[hashes[side][i]] = row.Count;
        }
        (int, int)[] promptOf = [.. Enumerable.Range(0, prompts[0].Count).Select(i => (Find(0, i), Find(1, i)))];
        return new GatingPairs
        {
            Prompts = new ArrayRows([.. values], buffer.Length),
            PromptIds = ids,
            PromptOf = promptOf,
            Chosen = Debiased(0),
            Rejected = Debiased(1),
            Sources = [.. Enumerable.Repeat("pairs", promptOf.Length)],
        };

        DebiasedRewards Debiased(int side) =>
            Rewards.Debias(Rewards.Compute(Side("embeddings", side), weight, cancel), transform);

        SafetensorsRows Side(string tensor, int side) => new([file], tensor, rank: 3, stride: 2, offset: side);
    }

    private static Option<T> Number<T>(string name, string description, T value) =>
        new(name) { Description = description, DefaultValueFactory = _ => value };

    private static Option<double> Real(string name, string description, double value) =>
        new(name) { Description = description, DefaultValueFactory = _ => value, CustomParser = Options.Number };

    private static T Positive<T>(ParseResult parsed, Option<T> option) where T : System.Numerics.INumber<T> =>
        parsed.GetRequiredValue(option) is var value && value > T.Zero
            ? value
            : throw new UsageException($"{option.Name} {value}: expected more than 0. Correct the value.");
}
