using System.Globalization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Regression;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.Workers.Features;
using MassTransit;
using static TorchSharp.torch;

namespace ArmoFlow.Workers.Regression;

/// <summary>Fits one linear reward for each objective.</summary>
public sealed class RegressionConsumer(StepServices services)
    : StepConsumer<FitRegression, RegressionFitted>(services)
{
    private static IReadOnlyList<double> Alphas(StepRun run) =>
        run.Spec.Regression.Alphas.Count > 0 ? run.Spec.Regression.Alphas : RidgeRegression.DefaultAlphas;

    protected override Task<StepPlan> Plan(StepRun run) => Task.FromResult(new StepPlan(new { run.Objectives, Alphas = Alphas(run) },
        run.Inputs(ArtifactNames.Ratings, ArtifactNames.Features, ArtifactNames.FeaturesReport)));

    protected override async Task<StepWork> Work(StepRun run, ConsumeContext context)
    {
        FeaturesReport space = await run.OpenJson<FeaturesReport>(ArtifactNames.FeaturesReport);
        using FeatureTable features = await FeatureTable.Open(run);
        List<RatingRow> all = await run.Read(ArtifactNames.Ratings, path => CanonicalTables.ReadRatings(path, run.Objectives));
        List<RatingRow> rows = [.. all.Where(r => features.Has(r.ConversationId))];
        Matrix labels = new(rows.Count, run.Objectives.Count);
        for (int i = 0; i < rows.Count; i++) rows[i].Labels.CopyTo(labels.Row(i));
        string[] ids = [.. rows.Select(r => r.ConversationId)];
        RegressionFit fit = await new RidgeRegression(features.Responses(ids), labels, run.Objectives, ids)
            .Fit(Alphas(run), new KeptGrams(run, space.Space), (done, total) => run.Progress("rows", done, total), run.Cancel);

        using Tensor w = fit.Weight.ToTensor();
        ArtifactRef weight = await run.PutTensors([("weight", w)]);
        RegressionReport report = new() { Objectives = [.. fit.Objectives.Select(Figures.Of)] };
        Dictionary<string, ArtifactRef> outputs = new()
        {
            [ArtifactNames.Regression] = weight,
            [ArtifactNames.RegressionReport] = await run.PutJson(report),
        };
        string explained = string.Join(", ", fit.Objectives.Take(4).Select(o => o.ValidationR2 is { } r2 ? $"{r2:f3}" : "–"));
        if (fit.Objectives.Count > 4) explained += ", …";
        string detail = $"{run.Objectives.Count} objectives over {rows.Count:N0} rows; held-out R² {explained}";
        return new StepWork.Done(outputs, detail, report);
    }

    /// <summary>Gram matrices of prefixes, kept as finished steps of their own.</summary>
    private sealed class KeptGrams(StepRun run, string space) : IGramStore
    {
        private StepKey Key(string prefix) => StepRun.KeyOf("gram", 1, new { space, prefix }, new Dictionary<string, ArtifactRef>());

        public async Task<NormalEquations?> Find(string key)
        {
            if (await run.Services.Steps.Find(Key(key), run.Cancel) is not { } known) return null;
            string path = await run.Services.Artifacts.Open(known.Artifacts.Single(a => a.IsOutput).Sha256, run.Cancel);
            using SafetensorsFile file = new(path);
            long rows = long.Parse(file.Metadata["rows"], CultureInfo.InvariantCulture);
            return new NormalEquations(file.Load("gram"), file.Load("moments"), rows);
        }

        public async Task Keep(string key, NormalEquations sums)
        {
            Dictionary<string, string> metadata = new() { ["rows"] = sums.Rows.ToString(CultureInfo.InvariantCulture) };
            ArtifactRef artifact = await run.PutTensors([("gram", sums.Gram), ("moments", sums.Moments)], metadata);
            await run.Services.Steps.Enter(new StepResult
            {
                Key = Key(key).Value,
                Step = "gram",
                Version = 1,
                Artifacts = [new StepArtifact { IsOutput = true, Name = "gram", Sha256 = artifact.Sha256, Bytes = artifact.Bytes }],
            }, run.Cancel);
        }
    }
}
