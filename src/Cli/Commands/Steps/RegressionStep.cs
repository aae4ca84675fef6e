using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Regression;
using ArmoFlow.RewardModel.Tensors;
using static TorchSharp.torch;

namespace ArmoFlow.Cli.Commands.Steps;

internal static class RegressionStep
{
    private static readonly Option<string[]> Features = new("--features")
    {
        Description = "One or more files of ratings' features.",
        Required = true,
        AllowMultipleArgumentsPerToken = true
    };
    private static readonly Option<string> Output = StepFiles.File("--out", "The safetensors file to write: weight [k, d].");
    private static readonly Option<string[]> Alphas = new("--alphas")
    {
        Description = "The grid of α, separated by blanks or commas (default: 0, 1e-4 … 1e4).",
        AllowMultipleArgumentsPerToken = true
    };
    private static readonly Option<string?> Report =
        StepFiles.Optional("--report", "JSON with α, validation MSE and R² of each objective.");

    public static Command Command()
    {
        Command command = new("regression", "Fits one linear reward for each label column.") { Features, Output, Alphas, Report };
        command.SetAction(Run);
        return command;
    }

    private static async Task<int> Run(ParseResult parsed, CancellationToken cancel)
    {
        SafetensorsFile[] files = [.. parsed.GetRequiredValue(Features).Select(f => new SafetensorsFile(f))];
        try
        {
            SafetensorsRows rows = new(files, "embeddings", rank: 2);
            (Matrix labels, string[] names) = Labels(files, rows.Count);
            double[] grid = Grid(parsed.GetValue(Alphas) ?? []);
            RegressionFit fit = await new RidgeRegression(rows, labels, names, StepFiles.RowIds(files, rows)).Fit(grid, null,
                (done, total) => StepFiles.Progress("rows", done, total), cancel);
            using (Tensor weight = fit.Weight.ToTensor())
            {
                SafetensorsFile.Write(parsed.GetRequiredValue(Output), [("weight", weight)],
                    new Dictionary<string, string> { ["objectives"] = JsonSerializer.Serialize(names) });
            }
            StepFiles.WriteReport(parsed.GetValue(Report), new { objectives = fit.Objectives });
            foreach (ObjectiveFit o in fit.Objectives)
            {
                Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{o.Name}: {o.Rows:N0} rows, α {o.Alpha:g4}, validation MSE {o.ValidationMse:g4}, R² "
                        + $"{o.ValidationR2:f3}{(o.Note is null ? "" : $" ({o.Note})")}"));
            }
            return ExitCodes.Done;
        }
        finally
        {
            foreach (SafetensorsFile file in files) file.Dispose();
        }
    }

    private static double[] Grid(string[] given)
    {
        string[] values = [.. given.SelectMany(a => a.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))];
        return values.Length == 0 ? [.. RidgeRegression.DefaultAlphas]
            : [.. values.Select(v => double.TryParse(v, NumberStyles.Float, CultureInfo.InvariantCulture, out double alpha)
                && double.IsFinite(alpha)
                && alpha >= 0
                ? alpha
                    : throw new UsageException($"--alphas {v}: expected numbers of at least 0. Correct the value."))];
    }

    /// <summary>Labels of all files under the union of their columns, in order of appearance.</summary>
    private static (Matrix Labels, string[] Names) Labels(SafetensorsFile[] files, int rows)
    {
        List<string> names = [];
        string[][] columns = [.. files.Select(Columns)];
        foreach (string column in columns.SelectMany(c => c))
            if (!names.Contains(column)) names.Add(column);
        Matrix labels = new(rows, names.Count);
        for (int i = 0; i < rows; i++)
            for (int o = 0; o < names.Count; o++) labels[i, o] = double.NaN;
        int begin = 0;
        for (int f = 0; f < files.Length; f++)
        {
            float[] values = files[f].LoadFloats("labels");
            long n = files[f].Entry("embeddings").Shape[0], k = columns[f].Length;
            if (files[f].Entry("labels").Shape[0] != n)
            {
                throw new InvalidInputException(files[f].Path,
                    $"labels for {files[f].Entry("labels").Shape[0]} rows and embeddings for {n}", "one row of labels for each embedding",
                    "Extract the features again.");
            }
            for (int i = 0; i < n; i++)
                for (int c = 0; c < k; c++) labels[begin + i, names.IndexOf(columns[f][c])] = values[i * k + c];
            begin += (int)n;
        }
        return (labels, [.. names]);
    }

    private static string[] Columns(SafetensorsFile file)
    {
        TensorEntry labels = file.Entry("labels");
        if (labels.Shape.Length != 2)
        {
            throw new InvalidInputException(file.Path, $"labels of shape [{string.Join(", ", labels.Shape)}]", "[n, k]",
                "Check that these are features of ratings.");
        }
        return file.Metadata.TryGetValue("labels", out string? names)
            && JsonSerializer.Deserialize<string[]>(names) is { } columns
            && columns.Length == labels.Shape[1]
            ? columns
                : [.. Enumerable.Range(0, (int)labels.Shape[1]).Select(i => i.ToString(CultureInfo.InvariantCulture))];
    }
}
