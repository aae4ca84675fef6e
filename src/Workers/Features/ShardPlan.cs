using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Features;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.Workers.Ingestion;
using static TorchSharp.torch;

namespace ArmoFlow.Workers.Features;

/// <summary>What a shard holds, and of how many conversations.</summary>
internal sealed record ShardFeatures(FeatureShard Shard, int Conversations);

/// <summary>Tokens of a shard's conversations, and those of them that were computed.</summary>
internal sealed record ShardTokens(long Asked, long Computed);

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

    private sealed record Item(string Id, string PromptId, int[] Tokens, int PromptPosition, bool OwnsPrompt)
    {
        public int LastPosition { get; init; } = Tokens.Length - 1;

        public static Item Of(EncodedConversation encoded, bool ownsPrompt) =>
            new(encoded.Id, encoded.PromptId, encoded.Tokens, encoded.PromptPosition, ownsPrompt) { LastPosition = encoded.LastPosition };

        [JsonIgnore]
        public EncodedConversation Encoded => new(Id, PromptId, Tokens, PromptPosition) { LastPosition = LastPosition };
    }

    /// <summary>
    /// Names the plan's files, so that two plans of one step, made at the same time or from other knowledge of what is extracted
    /// already, never mix. Empty for plans of older versions.
    /// </summary>
    public string Id { get; init; } = "";

    /// <summary>Conversations that the chat template refuses.</summary>
    public IReadOnlyList<RefusedConversation> Refused { get; init; } = [];

    /// <summary>Conversations in which a text spells a control token of the tokenizer.</summary>
    public int SpecialSpellings { get; init; }

    /// <summary>A plan's file, whichever worker made it; null where it is gone.</summary>
    public static async Task<ShardPlan?> Find(StepRun run, string id) => await run.Recall(PlanFile(id)) is { } path
        ? JsonSerializer.Deserialize<ShardPlan>(await File.ReadAllBytesAsync(path, run.Cancel), StepRun.Json) : null;

    public static async Task<ShardPlan> Make(StepRun run, FeatureSpace space, long parameters)
    {
        int expected = (await run.OpenJson<IngestionReport>(ArtifactNames.IngestionReport)).DistinctConversations;
        FeaturePlaces known = await run.Services.Features.Load(space.Id, run.Cancel);
        Planner planner = new(run, space, known, expected, TokensOfShard(parameters));
        await foreach (Conversation conversation in run.ReadEach(ArtifactNames.Conversations, CanonicalTables.ReadConversations))
        {
            run.Cancel.ThrowIfCancellationRequested();
            await planner.Add(conversation);
        }
        ShardPlan plan = await planner.End();
        AtomicFile.Write(Path.Combine(run.Scratch, PlanFile(plan.Id)), stream => JsonSerializer.Serialize(stream, plan, StepRun.Json));
        await run.Keep(PlanFile(plan.Id));
        return plan;
    }

    /// <summary>Tokenizes the conversations that have no features yet and puts them into shards.</summary>
    private sealed class Planner(StepRun run, FeatureSpace space, FeaturePlaces known, int expected, long tokensOfShard)
    {
        private readonly ChatTokenizer _tokenizer = BackboneParts.Open(space.Folder, space.Encoding).Tokenizer;
        private readonly ShardWriter _shards = new(run, tokensOfShard);
        private readonly HashSet<FeatureKey> _planned = []; // prompts
        private readonly List<string> _overLimit = [];
        private readonly List<RefusedConversation> _refused = [];
        private int _seen, _taken, _specialSpellings;

        public async Task Add(Conversation conversation)
        {
            run.Progress("conversations tokenized", ++_seen, expected);
            if (_tokenizer.SpellsSpecial(conversation)) _specialSpellings++;
            FeatureKey key = FeatureKey.Of(space.Keys.Of(conversation)), prompt = FeatureKey.Of(space.Keys.OfPrompt(conversation));
            bool hasPrompt = _planned.Contains(prompt) || await known.Has(FeatureKind.Prompt, prompt, run.Cancel);
            if (hasPrompt && await known.Has(FeatureKind.Response, key, run.Cancel)) return;
            switch (_tokenizer.EncodeWithin(conversation, space.MaxTokens, run.Cancel))
            {
                case EncodingResult.TooLong:
                    _overLimit.Add(conversation.Id);
                    break;
                case EncodingResult.Refused(string why):
                    _refused.Add(new RefusedConversation(conversation.Id, why));
                    break;
                case EncodingResult.Done(EncodedConversation encoded):
                    // f(x) is computed once for each prompt, with the first conversation that has it, and so is one vector for all of
                    // its responses.
                    await _shards.Add(Item.Of(encoded, ownsPrompt: !hasPrompt));
                    _planned.Add(prompt);
                    _taken++;
                    break;
            }
        }

        /// <summary>
        /// Ingestion says how many conversations there are: a table that lacks some is made anew, and not taken for a smaller one.
        /// </summary>
        public async Task<ShardPlan> End()
        {
            if (_seen != expected)
                throw run.Unreadable(ArtifactNames.Conversations, $"it holds {_seen} conversations where ingestion found {expected}");
            await _shards.Flush();
            return new ShardPlan(space, _shards.Count, _taken, _overLimit)
            {
                Id = _shards.Plan,
                Refused = _refused,
                SpecialSpellings = _specialSpellings,
            };
        }
    }

    /// <summary>Writes items to files of about so many tokens each, when several files' are pending.</summary>
    private sealed class ShardWriter(StepRun run, long budget)
    {
        private const int MostPending = 8;
        private readonly PendingResponses<Item> _pending = new(item => item.PromptId, item => item.Tokens.Length);

        /// <summary>The id of the plan that the shards belong to.</summary>
        public string Plan { get; } = Guid.NewGuid().ToString("N");

        public int Count { get; private set; }

        public async Task Add(Item item)
        {
            _pending.Add(item);
            if (_pending.Tokens > budget * MostPending) await WriteShard();
        }

        /// <summary>Writes what is left, if anything.</summary>
        public async Task Flush()
        {
            while (!_pending.IsEmpty) await WriteShard();
        }

        private async Task WriteShard()
        {
            List<Item> items = _pending.Take(budget);
            string name = ShardFile(Plan, Count++);
            AtomicFile.Write(Path.Combine(run.Scratch, name), stream => JsonSerializer.Serialize(stream, items));
            await run.Keep(name);
        }
    }

    /// <summary>Computes a shard, and stores it.</summary>
    public async Task<ShardFeatures> Extract(StepRun run, int shard, FeatureExtractor extractor)
    {
        string path = await run.Recall(ShardFile(Id, shard))
            ?? throw new FileNotFoundException($"shard {shard} of the plan is gone from {run.Scratch}");
        List<Item> items = JsonSerializer.Deserialize<List<Item>>(await File.ReadAllBytesAsync(path, run.Cancel))!;
        int before = await run.Services.Work.ItemsDone(run.Key, run.Cancel);
        long computed = 0;
        ConversationFeatures[] features = extractor.Extract([.. items.Select(i => i.Encoded)], Tell, run.Cancel);
        ShardTokens tokens = new(items.Sum(i => (long)i.Tokens.Length), computed);
        Instruments.Tokens.Add(tokens.Asked);
        AtomicFile.Write(Path.Combine(run.Scratch, TokensFile(Id, shard)), stream => JsonSerializer.Serialize(stream, tokens));
        await run.Keep(TokensFile(Id, shard));
        Item[] owners = [.. items.Where(i => i.OwnsPrompt)];
        float[] prompts = [.. items.Zip(features).Where(x => x.First.OwnsPrompt).SelectMany(x => x.Second.PromptEmbedding)];
        using Tensor responseRows = tensor([.. features.SelectMany(f => f.Embedding)], [items.Count, extractor.Dimension]);
        using Tensor promptRows = tensor(prompts, [owners.Length, extractor.Dimension]);
        ArtifactRef artifact = await run.PutTensors([(FeatureTable.Embeddings, responseRows), (FeatureTable.PromptEmbeddings, promptRows)]);
        FeatureShard entry = FeatureShard.Of(Space.Id, artifact.Sha256,
            [.. items.Select(i => FeatureKey.Of(i.Id))], [.. owners.Select(i => FeatureKey.Of(i.PromptId))]);
        return new ShardFeatures(entry, items.Count);

        void Tell(ExtractionProgress done)
        {
            computed = done.Tokens;
            run.Progress("conversations", before + done.Conversations, Conversations);
        }
    }

    /// <summary>What all shards took; without those that an older version computed.</summary>
    public async Task<ShardTokens> Tokens(StepRun run)
    {
        ShardTokens sum = new(0, 0);
        for (int shard = 0; shard < Shards; shard++)
        {
            if (await run.Recall(TokensFile(Id, shard)) is not { } path) continue;
            ShardTokens one = JsonSerializer.Deserialize<ShardTokens>(await File.ReadAllBytesAsync(path, run.Cancel))!;
            sum = new ShardTokens(sum.Asked + one.Asked, sum.Computed + one.Computed);
        }
        return sum;
    }

    /// <summary>About how many tokens a shard holds: as the environment says, else by the work that they make.</summary>
    private static long TokensOfShard(long parameters) =>
        long.TryParse(Environment.GetEnvironmentVariable(TokensVariable), CultureInfo.InvariantCulture, out long wanted) && wanted > 0
            ? wanted
            : Math.Clamp((long)(FlopsPerShard / (2.0 * parameters)), FewestTokens, MostTokens);

    private static string PlanFile(string id) => $"{Prefix(id)}plan.json";

    private static string ShardFile(string id, int shard) =>
        string.Create(CultureInfo.InvariantCulture, $"{Prefix(id)}shard-{shard:d6}.json");

    private static string TokensFile(string id, int shard) =>
        string.Create(CultureInfo.InvariantCulture, $"{Prefix(id)}tokens-{shard:d6}.json");

    private static string Prefix(string id) => id.Length == 0 ? "" : $"{id}-";
}
