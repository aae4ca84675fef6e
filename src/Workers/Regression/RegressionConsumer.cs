using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Regression;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.Workers.Features;
using MassTransit;
using static TorchSharp.torch;

namespace ArmoFlow.Workers.Regression;

public sealed class RegressionConsumerDefinition() : StepConsumerDefinition<RegressionConsumer>(StepNames.Regression);

public sealed record RegressionReport(IReadOnlyList<ObjectiveFit> Objectives);

/// <summary>Fits one linear reward for each objective.</summary>
public sealed class RegressionConsumer(StepServices services)
    : StepConsumer<FitRegression, RegressionFitted>(StepNames.Regression, version: 1, services)
{
    private static IReadOnlyList<double> Alphas(StepRun run) =>
        run.Spec.Regression.Alphas.Count > 0 ? run.Spec.Regression.Alphas : RidgeRegression.DefaultAlphas;

    protected override Task<StepPlan> Plan(StepRun run) => Task.FromResult(new StepPlan(new { run.Objectives, Alphas = Alphas(run) },
        run.Inputs(ArtifactNames.Ratings, ArtifactNames.Features, ArtifactNames.FeaturesReport)));

    protected override async Task<StepOutcome?> Work(StepRun run, ConsumeContext context)
    {
        FeaturesReport space = await run.OpenJson<FeaturesReport>(ArtifactNames.FeaturesReport);
        using FeatureTable features = await FeatureTable.Open(run);
        List<RatingRow> all = await run.Read(ArtifactNames.Ratings, path => CanonicalTables.ReadRatings(path, run.Objectives));
        List<RatingRow> rows = [.. all.Where(r => features.Has(r.ConversationId))];
        Matrix labels = new(rows.Count, run.Objectives.Count);
        for (int i = 0; i < rows.Count; i++) rows[i].Labels.CopyTo(labels.Row(i));
        string[] ids = [.. rows.Select(r => r.ConversationId)];
        RegressionFit fit = new RidgeRegression(features.Responses(ids), labels, run.Objectives, ids)
            .Fit(Alphas(run), new KeptGrams(run, space.Space), (done, total) => run.Progress("rows", done, total), run.Cancel);

        using Tensor w = fit.Weight.ToTensor();
        ArtifactRef weight = await run.PutTensors([("weight", w)]);
        RegressionReport report = new(fit.Objectives);
        Dictionary<string, ArtifactRef> outputs = new()
        {
            [ArtifactNames.Regression] = weight,
            [ArtifactNames.RegressionReport] = await run.PutJson(report),
        };
        string explained = string.Join(", ", fit.Objectives.Take(4).Select(o => o.ValidationR2 is { } r2 ? $"{r2:f3}" : "–"));
        if (fit.Objectives.Count > 4) explained += ", …";
        string detail = $"{run.Objectives.Count} objectives over {rows.Count:N0} rows; held-out R² {explained}";
        return new StepOutcome(outputs, detail, report);
    }

    /// <summary>Gram matrices of prefixes, kept as finished steps of their own.</summary>
    private sealed class KeptGrams(StepRun run, string space) : IGramStore
    {
        private StepKey Key(string prefix) => StepRun.KeyOf("gram", 1, new { space, prefix }, new Dictionary<string, ArtifactRef>());

        public NormalEquations? Find(string key)
        {
            if (run.Services.Steps.Find(Key(key), run.Cancel).GetAwaiter().GetResult() is not { } known) return null;
            using SafetensorsFile file =
                new(run.Services.Artifacts.Open(known.Artifacts.Single(a => a.IsOutput).Sha256, run.Cancel).GetAwaiter().GetResult());
            return new NormalEquations(file.Load("gram"), file.Load("moments"),
                long.Parse(file.Metadata["rows"], System.Globalization.CultureInfo.InvariantCulture));
        }

        public void Keep(string key, NormalEquations sums)
        {
            ArtifactRef artifact = run.PutTensors([("gram", sums.Gram), ("moments", sums.Moments)],
                new Dictionary<string, string> { ["rows"] = sums.Rows.ToString(System.Globalization.CultureInfo.InvariantCulture) })
                .GetAwaiter()
                .GetResult();
            run.Services.Steps.Enter(new StepResult
            {
                Key = Key(key).Value,
                Step = "gram",
                Version = 1,
                Artifacts = [new StepArtifact { IsOutput = true, Name = "gram", Sha256 = artifact.Sha256, Bytes = artifact.Bytes }],
            }, run.Cancel).GetAwaiter().GetResult();
        }
    }
}
