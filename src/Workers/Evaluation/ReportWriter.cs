using System.Globalization;
using System.Text;
using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.RewardBench;
using ArmoFlow.Workers.Features;
using ArmoFlow.Workers.Ingestion;

namespace ArmoFlow.Workers.Evaluation;

/// <summary>
/// The run's report in Markdown: every figure, and what it stands on. It holds no times, so equal runs have equal reports.
/// </summary>
internal sealed class ReportWriter(
    RunSpec spec,
    IngestionReport ingestion,
    FeaturesReport features,
    RegressionReport regression,
    DecorrelationReport decorrelation,
    GatingReport gating,
    EvaluationReport evaluation)
{
    private readonly StringBuilder _text = new();
    private readonly HealthFigures _health = gating.Health!;
    private readonly GatingFigures _options = gating.Options!;

    public string Write()
    {
        if (_health.NoSignal is { } noSignal) Line($"**{char.ToUpperInvariant(noSignal[0])}{noSignal[1..]}**\n");
        Line($"# {spec.Name}");
        Line("");
        Line("An interpretable reward model: one linear reward for each objective, the length bias taken out, and a gate that weighs the "
            + "objectives by the prompt.");
        Summary();
        Data();
        Regression();
        Decorrelation();
        Gate();
        Benchmark();
        Manifest();
        return _text.ToString();
    }

    private void Summary()
    {
        Section("Result");
        Table("scorer", "held-out pairs", "benchmark score");
        foreach ((string name, ScorerFigures result) in evaluation.Scorers)
            Row(Title(name), Figure(name, result.HeldOutAccuracy), Figure(name, result.Benchmark?.Score));
        Line("");
        Line($"Held-out accuracy: share of {gating.HeldOutPairs:N0} pairs, with prompts never trained on, whose chosen response scores "
            + "higher by more than rounding.");
        if (_health.Ties > 0)
            Line($"Pairs whose two sides score the same but for rounding: {Percent(_health.Ties)}; they count as not chosen.");
        if (evaluation.Scorers[EvaluationReport.Gate].Benchmark is { Ties: > 0 } benchmark)
            Line($"Of the benchmark's pairs {benchmark.Ties:N0} tie under the gate.");
        Line("\nWhether the figures pass the gates of the spec and of the model's policy is judged after this report is written, "
            + "and again whenever a version is to be promoted: see `armoflow runs show` and `armoflow models show`.");
        foreach (string warning in _health.Warnings) Line($"\n**Gate health:** {warning}.");
    }

    private void Data()
    {
        Section("Data");
        Table("source", "kind", "format", "rows", "kept", "duplicates", "dropped");
        foreach (SourceReport s in ingestion.Sources)
        {
            Row(s.Name, s.Kind, s.Format, $"{s.RowsRead:N0}", $"{s.Kept:N0}", $"{s.Duplicates:N0}",
                s.Dropped.Count == 0 ? "0" : string.Join(", ", s.Dropped.Select(d => $"{d.Value:N0} ({d.Key})")));
        }
        Line("");
        Line($"{ingestion.DistinctConversations:N0} distinct conversations; {FeaturesConsumer.WithoutFeatures(features)} "
            + $"left out, and with them {features.RatingsLeftOut:N0} ratings, {features.PreferencesLeftOut:N0} pairs and "
            + $"{features.BenchmarkLeftOut:N0} benchmark pairs.");
        foreach (string row in ingestion.Sources.SelectMany(s => s.DroppedRows)) Line($"- dropped: {row}");
        foreach (SourceReport source in ingestion.Sources)
        {
            if (source.RowsWithoutItems > 0) Line($"- {source.Name}: {source.RowsWithoutItems:N0} rows give no item");
            if (source.Unrated > 0) Line($"- {source.Name}: {source.Unrated:N0} responses have no rating");
            if (source.RowsWithReplacedText > 0)
                Line($"- {source.Name}: {source.RowsWithReplacedText:N0} rows held half surrogate pairs, read as U+FFFD");
        }
        Line("\nRatings found, rescaled to [0, 1]:\n");
        Table("source", "objective", "ratings", "smallest", "largest");
        foreach (SourceReport s in ingestion.Sources)
        {
            foreach ((string objective, RatingRange range) in s.Ranges)
                Row(s.Name, objective, $"{range.Count:N0}", Number(range.Min), Number(range.Max));
        }
    }

    private void Regression()
    {
        Section("Regression");
        Line("Ridge without intercept for each objective; α by the error on the held-out fifth, then refitted on all rows.\n");
        Table("objective", "rows", "α", "validation MSE", "validation R²", "note");
        foreach (ObjectiveFigures o in regression.Objectives)
            Row(o.Name, $"{o.Rows:N0}", Number(o.Alpha), Number(o.ValidationMse), Number(o.ValidationR2), o.Note ?? "");
    }

    private void Decorrelation()
    {
        Section("Verbosity");
        string metric = CultureInfo.InvariantCulture.TextInfo.ToTitleCase(decorrelation.Metric ?? "");
        Line($"{metric} correlation with {decorrelation.Verbosity} on "
            + $"{decorrelation.Responses:N0} responses of {decorrelation.Reference}.\n");
        Table("objective", "penalty λ", "before", "after");
        foreach (PenaltyFigures o in decorrelation.Objectives)
        {
            Row(o.Name, Number(o.Penalty), o.Before.ToString("f3", CultureInfo.InvariantCulture),
                o.After.ToString("0.0e+0", CultureInfo.InvariantCulture));
        }
        foreach (PenaltyFigures o in decorrelation.Objectives)
        {
            if (o.Proof is { } p)
            {
                Line(string.Create(CultureInfo.InvariantCulture,
                    $"\n{o.Name}: the ranks allow no better. The coefficient only falls as λ grows, and between the neighbouring float32 "
                        + $"values {p.LowerPenalty:r} and {p.UpperPenalty:r} it jumps from {p.CorrelationThere:f4} to "
                        + $"{p.CorrelationHere:f4}."));
            }
        }
    }

    private void Gate()
    {
        Section("Gate");
        Line($"{_options.Steps:N0} steps of {_options.BatchSize:N0} pairs, {string.Join("×", _options.Hidden)} hidden "
            + $"units, seed {_options.Seed}; β ended at {Number(gating.Beta)}. Trained on {gating.TrainingPairs:N0} pairs "
            + $"({Percent(gating.TrainingAccuracy)} right); {gating.Straddling:N0} pairs whose two prompts fall on different sides of "
            + "the split were left out.\n");
        string[] objectives = [.. ingestion.Objectives];
        Table(["source", "pairs", "held out", "accuracy", .. objectives]);
        foreach ((string name, SourceFigures s) in gating.Sources)
        {
            Row([
                name,
                $"{s.Pairs:N0}",
                $"{s.HeldOut:N0}",
                Percent(s.HeldOutAccuracy),
                .. objectives.Select(o => s.MeanCoefficients[o].ToString("f3", CultureInfo.InvariantCulture))
            ]);
        }
        Line("\nThe last columns are mean coefficients on the source's prompts.\n");
        Table("gate health", "", "healthy");
        Row("largest error of a coefficient sum", _health.LargestSumError?.ToString("0.0e+0", CultureInfo.InvariantCulture) ?? "–",
            FormattableString.Invariant($"≤ {GateHealth.SumTolerance:0e-0}"));
        Row("mean entropy / ln k", Number(_health.MeanEntropy), "above 0");
        Row("spread of coefficients over prompts", Number(_health.SpreadOverPrompts),
            FormattableString.Invariant($"≥ {GateHealth.FlatBelow}"));
        Row("dead objectives", _health.Dead.Count == 0 ? "none" : string.Join(", ", _health.Dead), "none");
        Row("saturated objectives", _health.Saturated.Count == 0 ? "none" : string.Join(", ", _health.Saturated), "none");
        Row("Spearman of score and verbosity", _health.VerbosityCorrelation?.ToString("f3", CultureInfo.InvariantCulture) ?? "–",
            FormattableString.Invariant($"within ±{GateHealth.LengthBias}"));
        LossCurve();
    }

    private void LossCurve()
    {
        const int Window = GatingTrainer.StepsPerCurvePoint;
        Line($"\nLoss (nats, mean of {Window} steps):\n");
        Table("steps", "loss");
        IReadOnlyList<double> curve = gating.LossCurve;
        int stride = Math.Max(1, curve.Count / 10);
        for (int i = 0; i < curve.Count; i += stride)
        {
            Row($"{i * Window + 1:N0}–{Math.Min((i + 1) * Window, _options.Steps):N0}",
                curve[i].ToString("f4", CultureInfo.InvariantCulture));
        }
        if ((curve.Count - 1) % stride != 0)
            Row($"{(curve.Count - 1) * Window + 1:N0}–{_options.Steps:N0}", curve[^1].ToString("f4", CultureInfo.InvariantCulture));
    }

    private void Benchmark()
    {
        Section("Benchmark");
        if (evaluation.Scorers[EvaluationReport.Gate].Benchmark is not { } gate)
        {
            Line("The spec names no benchmark.");
            return;
        }
        string[] scorers = [.. evaluation.Scorers.Keys];
        Table(["section", "weight", .. scorers.Select(Title)]);
        foreach (string section in gate.Sections.Keys)
        {
            Row([
                section,
                Number(gate.Weights[section]),
                .. scorers.Select(s => Percent(evaluation.Scorers[s].Benchmark?.Sections.GetValueOrDefault(section)))
            ]);
        }
        Row(["**score**", "", .. scorers.Select(s => $"**{Figure(s, evaluation.Scorers[s].Benchmark?.Score)}**")]);
        if (gate.LeftOut.Count > 0)
            Line($"\nNo data for {string.Join(", ", gate.LeftOut)}: the score is the weighted mean of the other sections.");
        if (gate.OutsideSections.Count > 0)
            Line($"\nSubsets outside every section, not in the score: {string.Join(", ", gate.OutsideSections)}.");
        Line("");
        Table(["subset", "pairs", "weight in its section", .. scorers.Select(Title)]);
        foreach ((string name, SubsetFigures subset) in gate.Subsets)
        {
            Row([
                name,
                $"{subset.Count:N0}",
                Number(WeightOf(name)),
                .. scorers.Select(s => Percent(evaluation.Scorers[s].Benchmark?.Subsets[name].Accuracy))
            ]);
        }
    }

    private double? WeightOf(string subset)
    {
        if (spec.Benchmark?.Sections is { } own)
            return own.Values.Where(s => s.ContainsKey(subset)).Select(s => (double?)s[subset]).FirstOrDefault();
        return RewardBenchScore.PublishedSections.Values.Where(s => s.ContainsKey(subset)).Select(s => (double?)s[subset]).FirstOrDefault();
    }

    private void Manifest()
    {
        EvaluationManifest m = evaluation.Manifest!;
        Section("Manifest");
        Table("", "");
        Row("benchmark", $"sha256 {m.BenchmarkDigest}, {m.BenchmarkPairs:N0} pairs, {m.LeftOut:N0} over the token limit");
        Row("backbone", $"sha256 {m.BackboneDigest}");
        Row("template, dtype, limit", $"{m.Template}, {m.Dtype}, {m.MaxTokens:N0} tokens");
    }

    private void Section(string title) => _text.Append(CultureInfo.InvariantCulture, $"\n## {title}\n\n");
    private void Line(FormattableString text) => _text.Append(text.ToString(CultureInfo.InvariantCulture)).Append('\n');
    private void Line(string text) => _text.Append(text).Append('\n');
    private void Row(params string[] cells) => _text.Append("| ").AppendJoin(" | ", cells).Append(" |\n");

    private void Table(params string[] headings)
    {
        Row(headings);
        _text.Append('|').Insert(_text.Length, "---|", headings.Length).Append('\n');
    }

    private static string Title(string scorer) =>
        scorer switch { "gate" => "gated model", "bradley-terry" => "Bradley–Terry head", "mean" => "mean of objectives", _ => scorer };
    /// <summary>A figure that sums a scorer up; of a gate without a signal none is given.</summary>
    private string Figure(string scorer, double? share) =>
        scorer == EvaluationReport.Gate && _health.NoSignal is not null ? "no signal" : Percent(share);

    private static string Percent(double? share) => EvaluationConsumer.Percent(share);
    private static string Number(double? value) => value is { } v ? v.ToString("g4", CultureInfo.InvariantCulture) : "–";
}
