using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.Workers.Features;

public sealed class FeaturesConsumerDefinition() : StepConsumerDefinition<FeaturesConsumer>(StepNames.Features);

/// <summary>What was extracted, and what was left out for its length.</summary>
public sealed record FeaturesReport
{
    public required string BackboneDigest { get; init; }
    public required string Template { get; init; }
    public required string Dtype { get; init; }
    public required int MaxTokens { get; init; }
    public required int Dimension { get; init; }

    /// <summary>Identity of the features' space: two features of one conversation are equal if this is.</summary>
    public required string Space { get; init; }
    public required int Conversations { get; init; }
    public required int OverLimit { get; init; }
    public required IReadOnlyList<string> OverLimitIds { get; init; }

    /// <summary>Rows that need a conversation over the limit.</summary>
    public required int RatingsLeftOut { get; init; }
    public required int PreferencesLeftOut { get; init; }
    public required int BenchmarkLeftOut { get; init; }
}

/// <summary>Extracts features of the conversations that have none yet, a shard for each slice.</summary>
public sealed class FeaturesConsumer(StepServices services, ExtractorCache extractors) : StepConsumer<ExtractFeatures, FeaturesExtracted>(StepNames.Features, version: 1, services)
{
    private const int OverLimitListed = 20;
    private static readonly string[] Tables = [ArtifactNames.Conversations, ArtifactNames.Ratings, ArtifactNames.Preferences, ArtifactNames.Benchmark];

    private sealed record Space(string Id, string Folder, string Digest, string Dtype, LlamaConfig Config, int MaxTokens);

    protected override async Task<StepPlan> Plan(StepRun run)
    {
        Space space = await SpaceOf(run);
        return new StepPlan(new { space.Digest, Template = ChatTemplate.Name, space.Dtype, space.MaxTokens, run.Objectives }, run.Inputs(Tables));
    }

    protected override async Task<StepOutcome?> Work(StepRun run)
    {
        Space space = await SpaceOf(run);
        ShardPlan plan = ShardPlan.Load(run.Scratch) ?? await ShardPlan.Make(run, space.Id, Path.Combine(space.Folder, "tokenizer.json"), space.MaxTokens, space.Config.Parameters);
        int shard = plan.NextShard(run.Scratch);
        if (shard < plan.Shards)
        {
            FeatureExtractor extractor = extractors.Get(space.Folder, space.Digest, space.Dtype);
            await plan.Extract(run, shard, space.Id, extractor);
            return null;
        }
        return await Finish(run, space, plan);
    }

    private static async Task<StepOutcome> Finish(StepRun run, Space space, ShardPlan plan)
    {
        HashSet<string> overLimit = [.. plan.OverLimit];
        List<string> ids = [], prompts = [];
        HashSet<string> seenPrompts = [];
        await foreach (Conversation conversation in CanonicalTables.ReadConversations(run.Open(ArtifactNames.Conversations)))
        {
            if (overLimit.Contains(conversation.Id)) continue;
            ids.Add(conversation.Id);
            if (seenPrompts.Add(conversation.PromptId)) prompts.Add(conversation.PromptId);
        }
        Dictionary<string, FeatureRow> responses = await run.Services.Books.FindFeatures(space.Id, FeatureTable.Response, ids, run.Cancel);
        Dictionary<string, FeatureRow> promptRows = await run.Services.Books.FindFeatures(space.Id, FeatureTable.Prompt, prompts, run.Cancel);
        ArtifactRef features = await run.Services.Artifacts.Put(path => FeatureTable.Write(path, [.. ids.Select(i => responses[i]), .. prompts.Select(p => promptRows[p])]), run.Cancel);

        int ratings = (await CanonicalTables.ReadRatings(run.Open(ArtifactNames.Ratings), [])).Count(r => overLimit.Contains(r.ConversationId));
        int preferences = (await CanonicalTables.ReadPreferences(run.Open(ArtifactNames.Preferences))).Count(p => overLimit.Contains(p.ChosenId) || overLimit.Contains(p.RejectedId));
        int benchmark = (await CanonicalTables.ReadBenchmark(run.Open(ArtifactNames.Benchmark))).Count(p => overLimit.Contains(p.ChosenId) || overLimit.Contains(p.RejectedId));
        FeaturesReport report = new()
        {
            BackboneDigest = space.Digest,
            Template = ChatTemplate.Name,
            Dtype = space.Dtype,
            MaxTokens = space.MaxTokens,
            Dimension = space.Config.HiddenSize,
            Space = space.Id,
            Conversations = ids.Count,
            OverLimit = overLimit.Count,
            OverLimitIds = [.. plan.OverLimit.Take(OverLimitListed)],
            RatingsLeftOut = ratings,
            PreferencesLeftOut = preferences,
            BenchmarkLeftOut = benchmark,
        };
        string leftOut = overLimit.Count == 0 ? "" : $"; {overLimit.Count:N0} over {space.MaxTokens:N0} tokens left out, with {ratings:N0} ratings, {preferences:N0} pairs and {benchmark:N0} benchmark pairs";
        return new StepOutcome(new Dictionary<string, ArtifactRef> { [ArtifactNames.Features] = features, [ArtifactNames.FeaturesReport] = await run.PutJson(report) },
            $"{plan.Conversations:N0} conversations extracted, {ids.Count - plan.Conversations:N0} were known ({space.Dtype}, d = {space.Config.HiddenSize}){leftOut}",
            new { extracted = plan.Conversations, known = ids.Count - plan.Conversations, overLimit = overLimit.Count, ratingsLeftOut = ratings, preferencesLeftOut = preferences, benchmarkLeftOut = benchmark, dtype = space.Dtype, dimension = space.Config.HiddenSize });
    }

    private async Task<Space> SpaceOf(StepRun run)
    {
        string folder = Path.GetFullPath(Path.Combine(run.Spec.Folder, run.Spec.Backbone.Path));
        LlamaConfig config = LlamaConfig.Load(Path.Combine(folder, "config.json"));
        ChatTemplate.Require(Path.Combine(folder, "tokenizer_config.json"));
        using (Checkpoint checkpoint = new(folder)) LlamaModel.RequireShapes(checkpoint, config);
        string stamp = string.Join('|', Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal).Select(f => new FileInfo(f)).Select(f => $"{f.Name}:{f.Length}:{f.LastWriteTimeUtc.Ticks}"));
        string digest = await Services.Books.Settle($"digest {folder} {StepRun.KeyOf(stamp, 1, "", new Dictionary<string, ArtifactRef>())}", () => Checkpoint.Digest(folder, run.Cancel), run.Cancel);
        string dtype = run.Spec.Backbone.Dtype != "auto" ? run.Spec.Backbone.Dtype
            : await Services.Books.Settle($"dtype {digest} {ComputeType.Hardware}", () => ComputeType.Settle("auto", ComputeType.CheckpointBytes(folder), config.HiddenSize, config.IntermediateSize), run.Cancel);
        string id = StepRun.KeyOf("features-space", 1, new { digest, ChatTemplate.Name, dtype, run.Spec.Backbone.MaxTokens }, new Dictionary<string, ArtifactRef>()).Value[..32];
        return new Space(id, folder, digest, dtype, config, run.Spec.Backbone.MaxTokens);
    }
}

/// <summary>Keeps the last backbone loaded between slices.</summary>
public sealed class ExtractorCache : IDisposable
{
    private (string Key, FeatureExtractor Extractor)? _last;

    public FeatureExtractor Get(string folder, string digest, string dtype)
    {
        string key = $"{digest} {dtype}";
        if (_last is { } last && last.Key == key) return last.Extractor;
        _last?.Extractor.Dispose();
        FeatureExtractor extractor = new(folder, ComputeType.Parse(dtype), ComputeType.BestDevice);
        _last = (key, extractor);
        return extractor;
    }

    public void Dispose() => _last?.Extractor.Dispose();
}
