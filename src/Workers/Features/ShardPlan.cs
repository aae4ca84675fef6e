using System.Globalization;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.Workers.Ingestion;
using static TorchSharp.torch;

namespace ArmoFlow.Workers.Features;

/// <summary>
/// How the conversations without features were cut into shards, fixed before the first is computed: whichever workers compute
/// them, and in whichever order, the bytes are the same.
/// </summary>
/// <param name="Space">Where the features belong.</param>
/// <param name="Shards">How many shards there are.</param>
/// <param name="Conversations">How many conversations are in them.</param>
/// <param name="OverLimit">Ids of conversations that are too long.</param>
internal sealed record ShardPlan(FeatureSpace Space, int Shards, int Conversations, IReadOnlyList<string> OverLimit)
{
    private const string TokensVariable = "ARMOFLOW_SHARD_TOKENS";
    private const double FlopsPerShard = 4e13; // some ten seconds of a GPU, a minute or two of a CPU
    private const int FewestTokens = 4096, MostTokens = 1 << 17;

    private sealed record Item(string Id, string PromptId, int[] Tokens, int PromptPosition, bool OwnsPrompt);

    /// <summary>
    /// Names the plan's files, so that two plans of one step, made at the same time or from other knowledge of what is extracted
    /// already, never mix. Empty for plans of older versions.
    /// </summary>
    public string Id { get; init; } = "";

    /// <summary>Conversations in which a text spells a control token of the tokenizer.</summary>
    public int SpecialSpellings { get; init; }

    /// <summary>A plan's file, whichever worker made it; null where it is gone.</summary>
    public static async Task<ShardPlan?> Find(StepRun run, string id) => await run.Recall(PlanFile(id)) is { } path
        ? JsonSerializer.Deserialize<ShardPlan>(await File.ReadAllBytesAsync(path, run.Cancel), StepRun.Json) : null;

    public static async Task<ShardPlan> Make(StepRun run, FeatureSpace space, long parameters)
    {
        ChatTokenizer tokenizer = BackboneParts.Open(space.Folder, space.AllowsSpecials).Tokenizer;
        ShardWriter shards = new(run, TokensOfShard(parameters));
        List<(string Id, string PromptId)> all = [];
        await foreach (Conversation c in run.ReadEach(ArtifactNames.Conversations, CanonicalTables.ReadConversations))
            all.Add((c.Id, c.PromptId));
        await RequireWhole(run, all.Count);
        Dictionary<string, FeatureRow> known =
            await run.Services.Steps.FindFeatures(space.Id, FeatureTable.Response, all.Select(c => c.Id), run.Cancel);
        HashSet<string> ownedPrompts = [.. (await run.Services.Steps.FindFeatures(space.Id, FeatureTable.Prompt,
            all.Select(c => c.PromptId).Distinct(), run.Cancel)).Keys];

        List<string> overLimit = [];
        int conversations = 0, seen = 0, specialSpellings = 0;
        await foreach (Conversation conversation in run.ReadEach(ArtifactNames.Conversations, CanonicalTables.ReadConversations))
        {
            run.Cancel.ThrowIfCancellationRequested();
            run.Progress("conversations tokenized", ++seen, all.Count);
            if (tokenizer.SpellsSpecial(conversation)) specialSpellings++;
            if (known.ContainsKey(conversation.Id)) continue;
            if (tokenizer.EncodeWithin(conversation, space.MaxTokens, run.Cancel) is not { } encoded)
            {
                overLimit.Add(conversation.Id);
                continue;
            }
            // f(x) is computed once for each prompt, with the first conversation that has it, and so is one vector for all of its
            // responses.
            await shards.Add(
                new Item(encoded.Id, encoded.PromptId, encoded.Tokens, encoded.PromptPosition, ownedPrompts.Add(encoded.PromptId)));
            conversations++;
        }
        await shards.Flush();
        ShardPlan plan = new(space, shards.Count, conversations, overLimit) { Id = shards.Plan, SpecialSpellings = specialSpellings };
        AtomicFile.Write(Path.Combine(run.Scratch, PlanFile(plan.Id)), stream => JsonSerializer.Serialize(stream, plan, StepRun.Json));
        await run.Keep(PlanFile(plan.Id));
        return plan;
    }

    /// <summary>Writes items to files of about so many tokens each.</summary>
    private sealed class ShardWriter(StepRun run, long budget)
    {
        private readonly List<Item> _pending = [];
        private long _tokens;

        /// <summary>The id of the plan that the shards belong to.</summary>
        public string Plan { get; } = Guid.NewGuid().ToString("N");

        public int Count { get; private set; }

        public async Task Add(Item item)
        {
            if (_tokens + item.Tokens.Length > budget) await Flush();
            _pending.Add(item);
            _tokens += item.Tokens.Length;
        }

        /// <summary>Writes what is left, if anything.</summary>
        public async Task Flush()
        {
            if (_pending.Count == 0) return;
            string name = ShardFile(Plan, Count++);
            AtomicFile.Write(Path.Combine(run.Scratch, name), stream => JsonSerializer.Serialize(stream, _pending));
            await run.Keep(name);
            _pending.Clear();
            _tokens = 0;
        }
    }

    /// <summary>Computes a shard; the artifact and where each vector lies in it.</summary>
    public async Task<IReadOnlyList<FeatureRow>> Extract(StepRun run, int shard, FeatureExtractor extractor)
    {
        string path = await run.Recall(ShardFile(Id, shard))
            ?? throw new FileNotFoundException($"shard {shard} of the plan is gone from {run.Scratch}");
        List<Item> items = JsonSerializer.Deserialize<List<Item>>(await File.ReadAllBytesAsync(path, run.Cancel))!;
        int before = await run.Services.Work.ItemsDone(run.Key, run.Cancel);
        ConversationFeatures[] features =
            extractor.Extract([.. items.Select(i => new EncodedConversation(i.Id, i.PromptId, i.Tokens, i.PromptPosition))],
                done => run.Progress("conversations", before + done, Conversations), run.Cancel);
        Instruments.Tokens.Add(items.Sum(i => (long)i.Tokens.Length));
        Item[] owners = [.. items.Where(i => i.OwnsPrompt)];
        float[] prompts = [.. items.Zip(features).Where(x => x.First.OwnsPrompt).SelectMany(x => x.Second.PromptEmbedding)];
        using Tensor responseRows = tensor([.. features.SelectMany(f => f.Embedding)], [items.Count, extractor.Dimension]);
        using Tensor promptRows = tensor(prompts, [owners.Length, extractor.Dimension]);
        ArtifactRef artifact = await run.PutTensors([(FeatureTable.Embeddings, responseRows), (FeatureTable.PromptEmbeddings, promptRows)]);
        return
        [
            .. items.Select((item, row) => new FeatureRow
            {
                Space = Space.Id,
                Kind = FeatureTable.Response,
                Id = item.Id,
                Shard = artifact.Sha256,
                Row = row
            }),
            .. owners.Select((item, row) => new FeatureRow
            {
                Space = Space.Id,
                Kind = FeatureTable.Prompt,
                Id = item.PromptId,
                Shard = artifact.Sha256,
                Row = row
            }),
        ];
    }

    /// <summary>About how many tokens a shard holds: as the environment says, else by the work that they make.</summary>
    private static long TokensOfShard(long parameters) =>
        long.TryParse(Environment.GetEnvironmentVariable(TokensVariable), CultureInfo.InvariantCulture, out long wanted) && wanted > 0
            ? wanted
            : Math.Clamp((long)(FlopsPerShard / (2.0 * parameters)), FewestTokens, MostTokens);

    /// <summary>
    /// Ingestion says how many conversations there are: a table that lacks some is made anew, and not taken for a smaller one.
    /// </summary>
    private static async Task RequireWhole(StepRun run, int found)
    {
        int expected = (await run.OpenJson<IngestionReport>(ArtifactNames.IngestionReport)).DistinctConversations;
        if (found != expected)
            throw run.Unreadable(ArtifactNames.Conversations, $"it holds {found} conversations where ingestion found {expected}");
    }

    private static string PlanFile(string id) => $"{Prefix(id)}plan.json";

    private static string ShardFile(string id, int shard) =>
        string.Create(CultureInfo.InvariantCulture, $"{Prefix(id)}shard-{shard:d6}.json");

    private static string Prefix(string id) => id.Length == 0 ? "" : $"{id}-";
}
