using ArmoFlow.Contracts;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.RewardBench;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.Workers.Features;

namespace ArmoFlow.Workers.Evaluation;

/// <summary>What a scorer did on the benchmark.</summary>
/// <param name="Result">Its accuracies.</param>
/// <param name="Rows">Subset → for each of its pairs within the token limit, in the benchmark's order, 1 for right and 0 for wrong.</param>
internal sealed record BenchmarkOutcome(RewardBenchResult Result, SortedDictionary<string, string> Rows);

/// <summary>The benchmark's pairs within the token limit, and scorers over them.</summary>
internal sealed class BenchmarkScoring
{
    private readonly List<BenchmarkRow> _rows;
    private readonly IFeatureRows _chosen, _rejected, _chosenPrompt, _rejectedPrompt;

    public int Count => _rows.Count;

    private BenchmarkScoring(List<BenchmarkRow> rows, FeatureTable features, Dictionary<string, string> promptOf)
    {
        _rows = rows;
        _chosen = features.Responses([.. rows.Select(r => r.ChosenId)]);
        _rejected = features.Responses([.. rows.Select(r => r.RejectedId)]);
        _chosenPrompt = features.Prompts([.. rows.Select(r => promptOf[r.ChosenId])]);
        _rejectedPrompt = features.Prompts([.. rows.Select(r => promptOf[r.RejectedId])]);
    }

    public static async Task<BenchmarkScoring> Open(StepRun run, FeatureTable features, List<BenchmarkRow> rows)
    {
        HashSet<string> needed = [.. rows.SelectMany(r => new[] { r.ChosenId, r.RejectedId })];
        Dictionary<string, string> promptOf = [];
        if (needed.Count > 0)
        {
            await foreach (Conversation conversation in run.ReadEach(ArtifactNames.Conversations, CanonicalTables.ReadConversations))
                if (needed.Contains(conversation.Id)) promptOf[conversation.Id] = conversation.PromptId;
        }
        return new BenchmarkScoring(rows, features, promptOf);
    }

    public BenchmarkOutcome? Evaluate(TrainedModel model, IReadOnlyDictionary<string, IReadOnlyDictionary<string, double>>? sections) =>
        Evaluate(i =>
            Explain(model, _chosen, _chosenPrompt, i).Scored, i => Explain(model, _rejected, _rejectedPrompt, i).Scored, sections);

    public BenchmarkOutcome? EvaluateMean(TrainedModel model, IReadOnlyDictionary<string, IReadOnlyDictionary<string, double>>? sections) =>
        Evaluate(i => Mean(Explain(model, _chosen, _chosenPrompt, i)), i => Mean(Explain(model, _rejected, _rejectedPrompt, i)), sections);

    public BenchmarkOutcome? Evaluate(BradleyTerryHead head, IReadOnlyDictionary<string, IReadOnlyDictionary<string, double>>? sections) =>
        Evaluate(i => head.Rate(_chosen, i), i => head.Rate(_rejected, i), sections);

    private static Scored Mean(Explanation explanation) =>
        new(explanation.Objectives.Average(o => o.DebiasedReward),
            explanation.Objectives.Average(o => Rewards.Magnitude(o.Reward, o.DebiasedReward)));

    private BenchmarkOutcome? Evaluate(Func<int, Scored> chosen, Func<int, Scored> rejected,
        IReadOnlyDictionary<string, IReadOnlyDictionary<string, double>>? sections)
    {
        if (_rows.Count == 0) return null;
        List<(string Subset, Scored Chosen, Scored Rejected)> scores =
            [.. Enumerable.Range(0, _rows.Count).AsParallel().AsOrdered().Select(i => (_rows[i].Subset, chosen(i), rejected(i)))];
        return new BenchmarkOutcome(RewardBenchScore.Evaluate(scores, sections),
            new SortedDictionary<string, string>(scores.GroupBy(s => s.Subset).ToDictionary(g => g.Key,
                g => string.Concat(g.Select(s => ScoreDifference.IsHigher(s.Chosen, s.Rejected) ? '1' : '0'))), StringComparer.Ordinal));
    }

    private static Explanation Explain(TrainedModel model, IFeatureRows responses, IFeatureRows prompts, int row)
    {
        float[] response = new float[responses.Dimension], prompt = new float[prompts.Dimension];
        responses.Copy(row, response);
        prompts.Copy(row, prompt);
        return model.Explain(response, prompt);
    }
}
