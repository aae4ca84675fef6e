using ArmoFlow.Contracts;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.Workers.Features;

namespace ArmoFlow.Workers.Gating;

/// <summary>The preference pairs within the token limit, with what the gate and the baselines need of them.</summary>
public sealed class PairTable : IDisposable
{
    private readonly FeatureTable _features;
    private readonly Matrix _raw; // [distinct conversations, k]
    private readonly Dictionary<string, int> _rowOf;

    public IReadOnlyList<PreferenceRow> Rows { get; }
    public GatingPairs ForGate { get; }

    private PairTable(FeatureTable features, List<PreferenceRow> rows, Matrix raw, Dictionary<string, int> rowOf, GatingPairs forGate)
    {
        _features = features;
        Rows = rows;
        _raw = raw;
        _rowOf = rowOf;
        ForGate = forGate;
    }

    public static async Task<PairTable> Open(StepRun run)
    {
        FeatureTable features = await FeatureTable.Open(run);
        List<PreferenceRow> all = await run.Read(ArtifactNames.Preferences, CanonicalTables.ReadPreferences);
        List<PreferenceRow> rows = [.. all.Where(p => features.Has(p.ChosenId) && features.Has(p.RejectedId))];
        using SafetensorsFile regression = await run.OpenTensors(ArtifactNames.Regression);
        using SafetensorsFile decorrelation = await run.OpenTensors(ArtifactNames.Decorrelation);
        string[] ids = [.. rows.SelectMany(p => new[] { p.ChosenId, p.RejectedId }).Distinct()];
        Dictionary<string, int> rowOf = ids.Select((id, i) => (id, i)).ToDictionary(x => x.id, x => x.i);
        Matrix raw = Rewards.Compute(features.Responses(ids), regression.LoadMatrix("weight"), run.Cancel);
        DebiasedRewards debiased = Rewards.Debias(raw, decorrelation.LoadMatrix("reward_transform_matrix"));
        (string Row, string Id)[] sides = [.. rows.SelectMany(p => new[]
        {
            (features.PromptOf(p.ChosenId, p.ChosenPromptId), p.ChosenPromptId),
            (features.PromptOf(p.RejectedId, p.RejectedPromptId), p.RejectedPromptId),
        })];
        (string Row, string Id)[] prompts = [.. sides.DistinctBy(side => side.Row)];
        Dictionary<string, int> promptRow = prompts.Select((prompt, i) => (prompt.Row, i)).ToDictionary(x => x.Row, x => x.i);
        GatingPairs forGate = new()
        {
            Prompts = features.Prompts([.. prompts.Select(prompt => prompt.Row)]),
            PromptIds = [.. prompts.Select(prompt => prompt.Id)],
            PromptOf = [.. Enumerable.Range(0, rows.Count).Select(i => (promptRow[sides[2 * i].Row], promptRow[sides[2 * i + 1].Row]))],
            Chosen = debiased.Gather([.. rows.Select(p => rowOf[p.ChosenId])]),
            Rejected = debiased.Gather([.. rows.Select(p => rowOf[p.RejectedId])]),
            Sources = [.. rows.Select(p => p.Source)],
        };
        return new PairTable(features, rows, raw, rowOf, forGate);
    }

    public IFeatureRows ChosenFeatures => _features.Responses([.. Rows.Select(p => p.ChosenId)]);
    public IFeatureRows RejectedFeatures => _features.Responses([.. Rows.Select(p => p.RejectedId)]);

    /// <summary>One raw reward of every chosen, then of every rejected response.</summary>
    public double[] RawRewards(int objective) =>
        [.. Rows.Select(p => _raw[_rowOf[p.ChosenId], objective]), .. Rows.Select(p => _raw[_rowOf[p.RejectedId], objective])];

    public void Dispose() => _features.Dispose();
}
