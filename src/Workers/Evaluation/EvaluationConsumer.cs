using System.Globalization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.RewardBench;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.Workers.Features;
using ArmoFlow.Workers.Gating;
using ArmoFlow.Workers.Ingestion;
using MassTransit;

namespace ArmoFlow.Workers.Evaluation;

/// <summary>Evaluates the model and its baselines, and writes the run's report.</summary>
public sealed class EvaluationConsumer(StepServices services)
    : StepConsumer<EvaluateModel, ModelEvaluated>(services)
{
    private static readonly string[] Inputs =
    [
        ArtifactNames.IngestionReport, ArtifactNames.Conversations, ArtifactNames.Preferences, ArtifactNames.Benchmark,
        ArtifactNames.Features, ArtifactNames.FeaturesReport, ArtifactNames.Regression,
        ArtifactNames.RegressionReport, ArtifactNames.Decorrelation, ArtifactNames.DecorrelationReport, ArtifactNames.Gating,
        ArtifactNames.GatingReport,
    ];

    protected override Task<StepPlan> Plan(StepRun run) =>
        Task.FromResult(new StepPlan(new { run.Spec.Name, run.Objectives, run.Spec.Evaluation, run.Spec.Benchmark?.Sections },
            run.Inputs(run.Spec.Model is null ? Inputs : [.. Inputs, ArtifactNames.ModelFeaturesReport])));

    protected override async Task<StepWork> Work(StepRun run, ConsumeContext context)
    {
        FeaturesReport space = await run.OpenJson<FeaturesReport>(ArtifactNames.FeaturesReport);
        if (run.Spec.Model is { } stored)
            RequireSameBackbone(stored, await run.OpenJson<FeaturesReport>(ArtifactNames.ModelFeaturesReport), space);
        using FeatureTable features = await FeatureTable.Open(run);
        using PairTable pairs = await PairTable.Open(run);
        TrainedModel model = await OpenModel(run);
        List<BenchmarkRow> all = await run.Read(ArtifactNames.Benchmark, CanonicalTables.ReadBenchmark);
        BenchmarkPairs benchmark = await BenchmarkTable.Open(run, features, all);

        BenchmarkOutcome? outcome = benchmark.Evaluate(model, run.Cancel);
        (Dictionary<string, ScorerFigures> scorers, double? alpha) = Score(run, model, pairs, benchmark, outcome);
        EvaluationReport report = new()
        {
            Manifest = new EvaluationManifest
            {
                BenchmarkDigest = run.Inputs(ArtifactNames.Benchmark)[ArtifactNames.Benchmark].Sha256,
                BenchmarkPairs = all.Count,
                LeftOut = all.Count - benchmark.Count,
                BackboneDigest = space.BackboneDigest,
                Template = space.Template,
                Dtype = space.Dtype,
                MaxTokens = space.MaxTokens,
            },
            Scorers = scorers,
            BradleyTerryAlpha = alpha,
        };
        GatingReport gating = await run.OpenJson<GatingReport>(ArtifactNames.GatingReport);
        Dictionary<string, ArtifactRef> outputs = new()
        {
            [ArtifactNames.Evaluation] = await run.PutJson(report),
            [ArtifactNames.BenchmarkOutcomes] = await run.PutJson(outcome?.Rows ?? []),
            [ArtifactNames.Report] = await Services.Artifacts.PutText(await Markdown(run, space, gating, report), run.Cancel),
        };
        return new StepWork.Done(outputs, gating.Health?.NoSignal ?? Summary(scorers, all.Count), report);
    }

    /// <summary>The gate and the baselines, on held-out pairs and on the benchmark; and the α of the Bradley–Terry head.</summary>
    private static (Dictionary<string, ScorerFigures> Scorers, double? Alpha) Score(StepRun run, TrainedModel model, PairTable pairs,
        BenchmarkPairs benchmark, BenchmarkOutcome? outcome)
    {
        IReadOnlyList<int> held = pairs.ForGate.HeldOut;
        IReadOnlyList<string> baselines = run.Spec.Evaluation.Baselines;
        run.Progress("scorers", 0, 1 + baselines.Count);
        PairScores scores = PairScores.Compute(pairs.ForGate, model.Gate);
        Dictionary<string, ScorerFigures> scorers = new()
        {
            [EvaluationReport.Gate] = new ScorerFigures(scores.Accuracy(held), Figures.Of(outcome), scores.Ties(held)),
        };
        double? alpha = null;
        foreach (string baseline in baselines)
        {
            run.Progress("scorers", scorers.Count, 1 + baselines.Count);
            if (baseline == "mean")
            {
                BenchmarkOutcome? mean = benchmark.EvaluateMean(model, run.Cancel);
                scorers[baseline] = new ScorerFigures(pairs.ForGate.MeanAccuracy(held), Figures.Of(mean));
                continue;
            }
            BradleyTerryHead head = BradleyTerryHead.Fit(pairs.ChosenFeatures, pairs.RejectedFeatures, pairs.ForGate.Training,
                i => pairs.Rows[i].ChosenPromptId, run.Cancel);
            alpha = head.Alpha;
            double? accuracy = head.Accuracy(pairs.ChosenFeatures, pairs.RejectedFeatures, held);
            scorers[baseline] = new ScorerFigures(accuracy, Figures.Of(benchmark.Evaluate(head, run.Cancel)));
        }
        return (scorers, alpha);
    }

    private static async Task<string> Markdown(StepRun run, FeaturesReport space, GatingReport gating, EvaluationReport report) =>
        new ReportWriter(run.Spec, await run.OpenJson<IngestionReport>(ArtifactNames.IngestionReport), space,
            await run.OpenJson<RegressionReport>(ArtifactNames.RegressionReport),
            await run.OpenJson<DecorrelationReport>(ArtifactNames.DecorrelationReport), gating, report).Write();

    private static string Summary(Dictionary<string, ScorerFigures> scorers, int benchmarkPairs)
    {
        string heldOut = string.Join(", ", scorers.Select(s => $"{s.Key} {Percent(s.Value.HeldOutAccuracy)}"));
        double? score = scorers[EvaluationReport.Gate].Benchmark?.Score;
        string onBenchmark = benchmarkPairs > 0 ? $"benchmark score {Percent(score)}" : "no benchmark";
        return $"held-out pairs: {heldOut}; {onBenchmark}";
    }

    /// <summary>A model's rewards mean nothing on the features of another backbone.</summary>
    private static void RequireSameBackbone(string model, FeaturesReport trained, FeaturesReport now)
    {
        if (trained.AllowsSpecials != now.AllowsSpecials)
        {
            throw new InvalidInputException($"model {model}", $"templateSpecials: {(now.AllowsSpecials ? "allow" : "text")}",
                "that of the run that trained it", "Correct 'backbone.templateSpecials' in the spec.");
        }
        if (trained.BackboneDigest == now.BackboneDigest && trained.Template != now.Template)
        {
            throw new InvalidInputException($"model {model}", $"features under {now.Template}",
                $"those that it was trained on, under {trained.Template}",
                "Restore the backbone's chat template, and correct 'backbone.templateDate' and 'backbone.pooling' in the spec.");
        }
        if (trained.BackboneDigest != now.BackboneDigest)
        {
            throw new InvalidInputException($"model {model}", $"features of backbone {now.BackboneDigest}",
                $"those that it was trained on, of backbone {trained.BackboneDigest}",
                "Name the folder of that backbone in the spec: backbone: { path: … }.");
        }
    }

    private static async Task<TrainedModel> OpenModel(StepRun run)
    {
        string regression = await run.Open(ArtifactNames.Regression), decorrelation = await run.Open(ArtifactNames.Decorrelation);
        return await run.Read(ArtifactNames.Gating, gating => Task.FromResult(Model(run.Objectives, regression, decorrelation, gating)));
    }

    public static TrainedModel Model(IReadOnlyList<string> objectives, string regression, string decorrelation, string gating)
    {
        using SafetensorsFile w = new(regression), t = new(decorrelation), g = new(gating);
        return new TrainedModel(objectives, w.LoadMatrix("weight"), t.LoadMatrix("reward_transform_matrix"), GatingNetwork.Load(g));
    }

    internal static string Percent(double? share) => share is { } value ? value.ToString("p1", CultureInfo.InvariantCulture) : "–";
}
