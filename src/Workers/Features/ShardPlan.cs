using System.Globalization;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Workers.Features;

/// <summary>
/// How the conversations without features were cut into shards, fixed before the first is computed: whichever workers compute
/// them, and in whichever order, the bytes are the same.
/// </summary>
internal sealed record ShardPlan(FeatureSpace Space, int Shards, int Conversations, IReadOnlyList<string> OverLimit)
{
    private const string PlanFile = "plan.json";
    private const double FlopsPerShard = 4e13; // some ten seconds of a GPU, a minute or two of a CPU
    private const int FewestTokens = 4096, MostTokens = 1 << 17;

    private sealed record Item(string Id, string PromptId, int[] Tokens, int PromptPosition, bool OwnsPrompt);

    public static async Task<ShardPlan?> Find(StepRun run) => await run.Recall(PlanFile) is { } path
        ? JsonSerializer.Deserialize<ShardPlan>(await File.ReadAllBytesAsync(path, run.Cancel), StepRun.Json) : null;

    public static async Task<ShardPlan> Make(StepRun run, FeatureSpace space, long parameters)
    {
        LlamaTokenizer tokenizer = LlamaTokenizer.Load(Path.Combine(space.Folder, "tokenizer.json")).RequireTemplateTokens();
        long budget = Math.Clamp((long)(FlopsPerShard / (2.0 * parameters)), FewestTokens, MostTokens);
        List<(string Id, string PromptId)> all = [];
        await foreach (Conversation c in CanonicalTables.ReadConversations(run.Open(ArtifactNames.Conversations))) all.Add((c.Id, c.PromptId));
        Dictionary<string, FeatureRow> known = await run.Services.Books.FindFeatures(space.Id, FeatureTable.Response, all.Select(c => c.Id), run.Cancel);
        HashSet<string> ownedPrompts = [.. (await run.Services.Books.FindFeatures(space.Id, FeatureTable.Prompt, all.Select(c => c.PromptId).Distinct(), run.Cancel)).Keys];

        List<string> overLimit = [];
        List<Item> pending = [];
        long tokens = 0;
        int shards = 0, conversations = 0, seen = 0;
        await foreach (Conversation conversation in CanonicalTables.ReadConversations(run.Open(ArtifactNames.Conversations)))
        {
            run.Cancel.ThrowIfCancellationRequested();
            run.Progress("conversations tokenized", ++seen, all.Count);
            if (known.ContainsKey(conversation.Id)) continue;
            EncodedConversation encoded = tokenizer.Encode(conversation);
            if (encoded.Tokens.Length > space.MaxTokens)
            {
                overLimit.Add(conversation.Id);
                continue;
            }
            if (pending.Count > 0 && tokens + encoded.Tokens.Length > budget) await Flush();
            // f(x) is computed once for each prompt, with the first conversation that has it, and so is one vector for all of its responses.
            pending.Add(new Item(encoded.Id, encoded.PromptId, encoded.Tokens, encoded.PromptPosition, ownedPrompts.Add(encoded.PromptId)));
            tokens += encoded.Tokens.Length;
            conversations++;
        }
        if (pending.Count > 0) await Flush();
        ShardPlan plan = new(space, shards, conversations, overLimit);
        AtomicFile.Write(Path.Combine(run.Scratch, PlanFile), stream => JsonSerializer.Serialize(stream, plan, StepRun.Json));
        await run.Keep(PlanFile);
        return plan;

        async Task Flush()
        {
            string name = ShardFile(shards++);
            AtomicFile.Write(Path.Combine(run.Scratch, name), stream => JsonSerializer.Serialize(stream, pending));
            await run.Keep(name);
            pending.Clear();
            tokens = 0;
        }
    }

    /// <summary>Computes a shard; the artifact and where each vector lies in it.</summary>
    public async Task<IReadOnlyList<FeatureRow>> Extract(StepRun run, int shard, FeatureExtractor extractor)
    {
        string path = await run.Recall(ShardFile(shard)) ?? throw new FileNotFoundException($"shard {shard} of the plan is gone from {run.Scratch}");
        List<Item> items = JsonSerializer.Deserialize<List<Item>>(await File.ReadAllBytesAsync(path, run.Cancel))!;
        int before = await run.Services.Work.ItemsDone(run.Key, run.Cancel);
        ConversationFeatures[] features = extractor.Extract([.. items.Select(i => new EncodedConversation(i.Id, i.PromptId, i.Tokens, i.PromptPosition))],
            done => run.Progress("conversations", before + done, Conversations), run.Cancel);
        Instruments.Tokens.Add(items.Sum(i => (long)i.Tokens.Length));
        Item[] owners = [.. items.Where(i => i.OwnsPrompt)];
        ArtifactRef artifact = await run.Put(path =>
        {
            using DisposeScope scope = NewDisposeScope();
            float[] prompts = [.. items.Zip(features).Where(x => x.First.OwnsPrompt).SelectMany(x => x.Second.PromptEmbedding)];
            SafetensorsFile.Write(path,
            [
                ("embeddings", tensor([.. features.SelectMany(f => f.Embedding)], [items.Count, extractor.Dimension])),
                ("prompt_embeddings", tensor(prompts, [owners.Length, extractor.Dimension])),
            ]);
        });
        return
        [
            .. items.Select((item, row) => new FeatureRow { Space = Space.Id, Kind = FeatureTable.Response, Id = item.Id, Shard = artifact.Sha256, Row = row }),
            .. owners.Select((item, row) => new FeatureRow { Space = Space.Id, Kind = FeatureTable.Prompt, Id = item.PromptId, Shard = artifact.Sha256, Row = row }),
        ];
    }

    private static string ShardFile(int shard) => string.Create(CultureInfo.InvariantCulture, $"shard-{shard:d6}.json");
}
