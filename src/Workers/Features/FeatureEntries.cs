using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.Workers.Features;

/// <summary>
/// What the run's table of features holds: the conversations that have features, and then their prompts, each once. A conversation whose
/// f(x) is not that of its prompt's first has a row of its own. Conversations are read twice and not kept.
/// </summary>
internal sealed class FeatureEntries(StepRun run, FeatureSpace space, IReadOnlySet<string> leftOut)
{
    /// <summary>A feature is in no shard that can be read.</summary>
    private sealed class FeatureGoneException : Exception;

    /// <summary>Conversations that have features; known once the table is stored.</summary>
    public int Conversations { get; private set; }

    /// <summary>Stores the table; null where a feature is gone since the plan was made.</summary>
    public async Task<ArtifactRef?> Store()
    {
        FeaturePlaces places = await run.Services.Features.Load(space.Id, run.Cancel);
        try { return await run.Services.Artifacts.Put(path => FeatureTable.Write(path, All(places)), run.Cancel); }
        catch (FeatureGoneException) { return null; }
    }

    private async IAsyncEnumerable<FeatureEntry> All(FeaturePlaces places)
    {
        Conversations = 0;
        await foreach (Conversation conversation in Within())
        {
            Conversations++;
            yield return await Entry(FeatureKind.Response, conversation.Id, space.Keys.Of(conversation));
        }
        Dictionary<FeatureKey, FeatureKey> firstOfPrompt = [];
        await foreach (Conversation conversation in Within())
        {
            string key = space.Keys.OfPrompt(conversation);
            FeatureKey prompt = FeatureKey.Of(conversation.PromptId), packed = FeatureKey.Of(key);
            if (firstOfPrompt.TryAdd(prompt, packed)) yield return await Entry(FeatureKind.Prompt, conversation.PromptId, key);
            else if (firstOfPrompt[prompt] != packed) yield return await Entry(FeatureKind.Prompt, conversation.Id, key);
        }

        async ValueTask<FeatureEntry> Entry(FeatureKind kind, string id, string key) =>
            await places.Find(kind, FeatureKey.Of(key), run.Cancel) is { } place ? new FeatureEntry(kind, id, place)
                : throw new FeatureGoneException();
    }

    private async IAsyncEnumerable<Conversation> Within()
    {
        await foreach (Conversation conversation in run.ReadEach(ArtifactNames.Conversations, CanonicalTables.ReadConversations))
        {
            run.Cancel.ThrowIfCancellationRequested();
            if (!leftOut.Contains(conversation.Id)) yield return conversation;
        }
    }
}
