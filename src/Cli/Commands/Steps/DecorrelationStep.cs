using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using ArmoFlow.RewardModel.Decorrelation;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Cli.Commands.Steps;

internal static class DecorrelationStep
{
    private static readonly Option<string> Features =
            StepFiles.File("--features", "Features of the reference set, of ratings or of pairs."),
        Regression = StepFiles.File("--regression", "weight [k, d]."),
        Output = StepFiles.File("--out", "The safetensors file to write: penalties [k], reward_transform_matrix [k, k].");
    private static readonly Option<string> Verbosity =
        new("--verbosity") { Description = "The verbosity objective: its name, or its index from 0.", Required = true };
    private static readonly Option<string> Metric = new Option<string>("--metric")
    {
        Description = "spearman or pearson.",
        DefaultValueFactory = _ => "spearman"
    }.AcceptOnlyFromAmong("spearman", "pearson");
    private static readonly Option<string?> Report = StepFiles.Optional("--report", "JSON with the correlations before and after.");

    public static Command Command()
    {
        Command command = new("decorrelation", "Finds the penalties that take verbosity out of each objective.")
        {
            Features,
            Regression,
            Verbosity,
            Metric,
            Output,
            Report
        };
        command.SetAction(Run);
        return command;
    }

    private static Task<int> Run(ParseResult parsed, CancellationToken cancel)
    {
        using SafetensorsFile file = new(parsed.GetRequiredValue(Features)), weights = new(parsed.GetRequiredValue(Regression));
        Matrix weight = weights.LoadMatrix("weight");
        int k = weight.Rows;
        string[] names = Names(weights, k);
        int v = IndexOf(parsed.GetRequiredValue(Verbosity), names);
        bool pairs = file.Entry("embeddings").Shape.Length == 3;
        Matrix rewards = pairs
            ? Stack(Rewards.Compute(Side(0), weight, cancel), Rewards.Compute(Side(1), weight, cancel))
            : Rewards.Compute(new SafetensorsRows([file], "embeddings", 2), weight, cancel);
        DecorrelationFit fit = VerbosityPenalty.Fit(rewards, names, v,
            Enum.Parse<CorrelationMetric>(parsed.GetRequiredValue(Metric), ignoreCase: true), null, cancel);
        using DisposeScope scope = NewDisposeScope();
        SafetensorsFile.Write(parsed.GetRequiredValue(Output),
            [("penalties", tensor(fit.Penalties)), ("reward_transform_matrix", fit.Transform.ToTensor())]);
        StepFiles.WriteReport(parsed.GetValue(Report),
            new { rows = rewards.Rows, objectives = fit.Objectives.Select(Indexed), names });
        Console.Error.WriteLine($"verbosity: '{names[v]}', index {v} of {k}");
        foreach (PenaltyFit o in fit.Objectives)
        {
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{o.Name}: λ {o.Penalty:g6}, {o.Before:f4} → {o.After:e1}{(o.Proof is null ? "" : " (the ranks allow no better)")}"));
        }
        return Task.FromResult(ExitCodes.Done);

        // The report names objectives by their place, as it always did; their names stand beside.
        static PenaltyFit Indexed(PenaltyFit objective, int index) =>
            objective with { Name = index.ToString(CultureInfo.InvariantCulture) };
        SafetensorsRows Side(int side) => new([file], "embeddings", rank: 3, stride: 2, offset: side);
    }

    /// <summary>The names that the regression wrote, or the indexes where it was another program's.</summary>
    private static string[] Names(SafetensorsFile weights, int k)
    {
        string[]? written =
            weights.Metadata.TryGetValue("objectives", out string? json) ? JsonSerializer.Deserialize<string[]>(json) : null;
        return written?.Length == k ? written : [.. Enumerable.Range(0, k).Select(i => i.ToString(CultureInfo.InvariantCulture))];
    }

    /// <summary>A name comes before an index: a label may be called '4'.</summary>
    private static int IndexOf(string given, string[] names)
    {
        int byName = Array.IndexOf(names, given);
        if (byName < 0) byName = Array.FindIndex(names, name => RatedFormats.OurName(name) == RatedFormats.OurName(given));
        if (byName >= 0) return byName;
        bool isIndex = int.TryParse(given, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int index);
        if (isIndex && index >= 0 && index < names.Length) return index;
        throw new UsageException($"--verbosity {given}: expected an index from 0 to {names.Length - 1}, or one of "
            + $"{string.Join(", ", names)}. Correct the value.");
    }

    private static Matrix Stack(Matrix a, Matrix b)
    {
        Matrix both = new(a.Rows + b.Rows, a.Columns);
        for (int i = 0; i < a.Rows; i++) a.Row(i).CopyTo(both.Row(i));
        for (int i = 0; i < b.Rows; i++) b.Row(i).CopyTo(both.Row(a.Rows + i));
        return both;
    }
}
