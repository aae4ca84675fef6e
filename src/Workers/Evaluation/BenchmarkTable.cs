using ArmoFlow.Contracts;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.RewardBench;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.Workers.Features;

namespace ArmoFlow.Workers.Evaluation;

/// <summary>Opens the benchmark's pairs that are within the token limit.</summary>
internal static class BenchmarkTable
{
    public static async Task<BenchmarkPairs> Open(StepRun run, FeatureTable features, IEnumerable<BenchmarkRow> all)
    {
        BenchmarkRow[] rows = [.. all.Where(row => features.Has(row.ChosenId) && features.Has(row.RejectedId))];
        HashSet<string> conversations = [.. rows.SelectMany(row => new[] { row.ChosenId, row.RejectedId })];
        Dictionary<string, string> promptOf = await Prompts(run, features, conversations);
        return new BenchmarkPairs(
            [.. rows.Select(row => row.Subset)],
            features.Responses([.. rows.Select(row => row.ChosenId)]),
            features.Responses([.. rows.Select(row => row.RejectedId)]),
            features.Prompts([.. rows.Select(row => promptOf[row.ChosenId])]),
            features.Prompts([.. rows.Select(row => promptOf[row.RejectedId])]),
            run.Spec.Benchmark?.Sections?.ToDictionary(s => s.Key, s => (IReadOnlyDictionary<string, double>)s.Value));
    }

    /// <summary>Conversation → the row of its prompt.</summary>
    private static async Task<Dictionary<string, string>> Prompts(StepRun run, FeatureTable features, HashSet<string> conversations)
    {
        Dictionary<string, string> promptOf = [];
        if (conversations.Count == 0) return promptOf;
        await foreach (Conversation conversation in run.ReadEach(ArtifactNames.Conversations, CanonicalTables.ReadConversations))
        {
            if (conversations.Contains(conversation.Id))
                promptOf[conversation.Id] = features.PromptOf(conversation.Id, conversation.PromptId);
        }
        return promptOf;
    }
}
