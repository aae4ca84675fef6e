using System.Globalization;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Workers.Features;

/// <summary>
/// How the conversations without features were cut into shards, fixed before the first is computed: a run that goes on after
/// a crash computes the same shards, and so the same bytes.
/// </summary>
internal sealed record ShardPlan(int Shards, int Conversations, IReadOnlyList<string> OverLimit)
{
    private const string PlanFile = "plan.json";
    private const double FlopsPerShard = 4e13; // some ten seconds of a GPU, a minute or two of a CPU
    private const int FewestTokens = 4096, MostTokens = 1 << 17;

    private sealed record Item(string Id, string PromptId, int[] Tokens, int PromptPosition, bool OwnsPrompt);

    public static ShardPlan? Load(string scratch) => File.Exists(Path.Combine(scratch, PlanFile))
        ? JsonSerializer.Deserialize<ShardPlan>(File.ReadAllBytes(Path.Combine(scratch, PlanFile)), StepRun.Json) : null;

    public static async Task<ShardPlan> Make(StepRun run, string space, string tokenizerPath, int maxTokens, long parameters)
    {
        LlamaTokenizer tokenizer = LlamaTokenizer.Load(tokenizerPath).RequireTemplateTokens();
        long budget = Math.Clamp((long)(FlopsPerShard / (2.0 * parameters)), FewestTokens, MostTokens);
        List<(string Id, string PromptId)> all = [];
        await foreach (Conversation c in CanonicalTables.ReadConversations(run.Open(ArtifactNames.Conversations))) all.Add((c.Id, c.PromptId));
        Dictionary<string, FeatureRow> known = await run.Services.Books.FindFeatures(space, FeatureTable.Response, all.Select(c => c.Id), run.Cancel);
        HashSet<string> ownedPrompts = [.. (await run.Services.Books.FindFeatures(space, FeatureTable.Prompt, all.Select(c => c.PromptId).Distinct(), run.Cancel)).Keys];

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
            if (encoded.Tokens.Length > maxTokens)
            {
                overLimit.Add(conversation.Id);
                continue;
            }
            if (pending.Count > 0 && tokens + encoded.Tokens.Length > budget) Flush();
            // f(x) is computed once for each prompt, with the first conversation that has it, and so is one vector for all of its responses.
            pending.Add(new Item(encoded.Id, encoded.PromptId, encoded.Tokens, encoded.PromptPosition, ownedPrompts.Add(encoded.PromptId)));
            tokens += encoded.Tokens.Length;
            conversations++;
        }
        if (pending.Count > 0) Flush();
        ShardPlan plan = new(shards, conversations, overLimit);
        AtomicFile.Write(Path.Combine(run.Scratch, PlanFile), stream => JsonSerializer.Serialize(stream, plan, StepRun.Json));
        return plan;

        void Flush()
        {
            AtomicFile.Write(ShardFile(run.Scratch, shards++), stream => JsonSerializer.Serialize(stream, pending));
            pending.Clear();
            tokens = 0;
        }
    }

    /// <summary>The first shard that is not done; shards are done in order.</summary>
    public int NextShard(string scratch)
    {
        int shard = 0;
        while (shard < Shards && !File.Exists(ShardFile(scratch, shard))) shard++;
        return shard;
    }

    public async Task Extract(StepRun run, int shard, string space, FeatureExtractor extractor)
    {
        List<Item> items = JsonSerializer.Deserialize<List<Item>>(await File.ReadAllBytesAsync(ShardFile(run.Scratch, shard), run.Cancel))!;
        int before = Enumerable.Range(0, shard).Sum(s => CountOf(run.Scratch, s));
        ConversationFeatures[] features = extractor.Extract([.. items.Select(i => new EncodedConversation(i.Id, i.PromptId, i.Tokens, i.PromptPosition))],
            done => run.Progress("conversations", before + done, Conversations), run.Cancel);
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
        await run.Services.Books.EnterFeatures(
        [
            .. items.Select((item, row) => new FeatureRow { Space = space, Kind = FeatureTable.Response, Id = item.Id, Shard = artifact.Sha256, Row = row }),
            .. owners.Select((item, row) => new FeatureRow { Space = space, Kind = FeatureTable.Prompt, Id = item.PromptId, Shard = artifact.Sha256, Row = row }),
        ], run.Cancel);
        AtomicFile.WriteText(CountFile(run.Scratch, shard), items.Count.ToString(CultureInfo.InvariantCulture));
        File.Delete(ShardFile(run.Scratch, shard));
    }

    private static int CountOf(string scratch, int shard) => int.Parse(File.ReadAllText(CountFile(scratch, shard)), CultureInfo.InvariantCulture);
    private static string ShardFile(string scratch, int shard) => Path.Combine(scratch, string.Create(CultureInfo.InvariantCulture, $"shard-{shard:d6}.json"));
    private static string CountFile(string scratch, int shard) => Path.Combine(scratch, string.Create(CultureInfo.InvariantCulture, $"done-{shard:d6}"));
}
