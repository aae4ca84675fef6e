using System.CommandLine;
using System.Globalization;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.RewardBench;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Cli.Commands.Steps;

internal static class EvaluationStep
{
    private static readonly Option<string> Features = StepFiles.File("--features", "Features of the benchmark's pairs."),
        Subsets = StepFiles.File("--subsets", "One subset name a line, line i for row i."),
        Regression = StepFiles.File("--regression", "weight [k, d]."),
        Transform = StepFiles.File("--transform", "reward_transform_matrix [k, k]."), Gating = StepFiles.File("--gating", "gating.*."),
        Output = StepFiles.File("--out", "The JSON to write.");
    private static readonly Option<double> Temperature = new("--temperature")
    {
        Description = "T of the softmax, where the gate's file does not say.",
        DefaultValueFactory = _ => 1,
        CustomParser = Options.Number
    };

    public static Command Command()
    {
        Command command = new("evaluation", "Scores benchmark pairs: accuracy by subset and section, and the score.")
        {
            Features,
            Subsets,
            Regression,
            Transform,
            Gating,
            Temperature,
            Output
        };
        command.SetAction(Run);
        return command;
    }

    private static Task<int> Run(ParseResult parsed, CancellationToken cancel)
    {
        using SafetensorsFile file = new(parsed.GetRequiredValue(Features)), weights = new(parsed.GetRequiredValue(Regression)),
            matrix = new(parsed.GetRequiredValue(Transform)), gate = new(parsed.GetRequiredValue(Gating));
        int k = (int)weights.Entry("weight").Shape[0];
        TrainedModel model = new([.. Enumerable.Range(0, k).Select(i => i.ToString(CultureInfo.InvariantCulture))],
            weights.LoadMatrix("weight"), matrix.LoadMatrix("reward_transform_matrix"),
            GatingNetwork.Load(gate, parsed.GetValue(Temperature)));
        SafetensorsRows chosen = Side("embeddings", 0);
        BenchmarkPairs pairs = new(ReadSubsets(parsed.GetRequiredValue(Subsets), file, chosen.Count), chosen, Side("embeddings", 1),
            Side("prompt_embeddings", 0), Side("prompt_embeddings", 1));
        RewardBenchResult result = pairs.Evaluate(model, cancel)?.Result ?? RewardBenchScore.Evaluate([]);
        StepFiles.WriteReport(parsed.GetRequiredValue(Output), result);
        foreach ((string section, double accuracy) in result.Sections)
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{section}: {accuracy:p1}"));
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"score: {result.Score:p1}{(result.LeftOut.Count > 0 ? $" (no data for {string.Join(", ", result.LeftOut)})" : "")}"));
        if (result.Ties > 0) Console.Error.WriteLine($"{result.Ties:N0} of {pairs.Count:N0} pairs tie, which count as not chosen");
        return Task.FromResult(ExitCodes.Done);

        SafetensorsRows Side(string tensor, int side) => new([file], tensor, rank: 3, stride: 2, offset: side);
    }

    private static string[] ReadSubsets(string path, SafetensorsFile features, int rows)
    {
        if (!File.Exists(path)) throw new InvalidInputException(path, "no such file", "one subset name a line", "Check --subsets.");
        string[] names = [.. File.ReadLines(path).Select(l => l.Trim())];
        if (names.Length > 0 && names[^1].Length == 0) names = names[..^1];
        // A features file whose extraction left lines out says which it kept: the names may still be those of the input's lines.
        if (names.Length > rows && features.Entries.ContainsKey("lines"))
        {
            using TorchSharp.torch.Tensor lines = features.Load("lines");
            long[] kept = lines.data<long>().ToArray();
            if (kept[^1] <= names.Length) return [.. kept.Select(l => names[l - 1])];
        }
        return names.Length == rows
            ? names
            : throw new InvalidInputException(path, $"{names.Length} lines", $"{rows}, one for each row of {features.Path}",
                "Give line i the subset of row i.");
    }
}
