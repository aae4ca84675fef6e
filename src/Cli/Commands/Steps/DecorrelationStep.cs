using System.CommandLine;
using System.Globalization;
using ArmoFlow.RewardModel.Decorrelation;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Cli.Commands.Steps;

internal static class DecorrelationStep
{
    public static Command Command()
    {
        Option<string> features = StepFiles.File("--features", "Features of the reference set, of ratings or of pairs."), regression = StepFiles.File("--regression", "weight [k, d]."), output = StepFiles.File("--out", "The safetensors file to write: penalties [k], reward_transform_matrix [k, k].");
        Option<int> verbosity = new("--verbosity") { Description = "Index of the verbosity objective, from 0.", Required = true };
        Option<string> metric = new Option<string>("--metric") { Description = "spearman or pearson.", DefaultValueFactory = _ => "spearman" }.AcceptOnlyFromAmong("spearman", "pearson");
        Option<string?> report = StepFiles.Optional("--report", "JSON with the correlations before and after.");
        Command command = new("decorrelation", "Finds the penalties that take verbosity out of each objective.") { features, regression, verbosity, metric, output, report };
        command.SetAction((parsed, cancel) =>
        {
            using SafetensorsFile file = new(parsed.GetRequiredValue(features)), weights = new(parsed.GetRequiredValue(regression));
            float[] weight = weights.LoadFloats("weight");
            int k = (int)weights.Entry("weight").Shape[0], v = parsed.GetValue(verbosity);
            if (v < 0 || v >= k) throw new UsageException($"--verbosity {v}: expected an index from 0 to {k - 1}. Correct the value.");
            bool pairs = file.Entry("embeddings").Shape.Length == 3;
            double[,] rewards = pairs ? Stack(Rewards.Compute(Side(0), weight, cancel), Rewards.Compute(Side(1), weight, cancel)) : Rewards.Compute(new SafetensorsRows([file], "embeddings", 2), weight, cancel);
            string[] names = [.. Enumerable.Range(0, k).Select(i => i.ToString(CultureInfo.InvariantCulture))];
            DecorrelationFit fit = VerbosityPenalty.Fit(rewards, names, v, Enum.Parse<CorrelationMetric>(parsed.GetRequiredValue(metric), ignoreCase: true), null, cancel);
            using DisposeScope scope = NewDisposeScope();
            SafetensorsFile.Write(parsed.GetRequiredValue(output), [("penalties", tensor(fit.Penalties)), ("reward_transform_matrix", tensor(fit.Transform, [k, k]))]);
            StepFiles.WriteReport(parsed.GetValue(report), new { rows = rewards.GetLength(0), objectives = fit.Objectives });
            foreach (PenaltyFit o in fit.Objectives) Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{o.Name}: λ {o.Penalty:g6}, {o.Before:f4} → {o.After:e1}{(o.Proof is null ? "" : " (the ranks allow no better)")}"));
            return Task.FromResult(ExitCodes.Done);

            SafetensorsRows Side(int side) => new([file], "embeddings", rank: 3, stride: 2, offset: side);
        });
        return command;
    }

    private static double[,] Stack(double[,] a, double[,] b)
    {
        int n = a.GetLength(0), k = a.GetLength(1);
        double[,] both = new double[2 * n, k];
        Array.Copy(a, 0, both, 0, a.Length);
        Array.Copy(b, 0, both, a.Length, b.Length);
        return both;
    }
}
