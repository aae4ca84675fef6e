using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using MassTransit;

namespace ArmoFlow.Workers.Features;

/// <summary>
/// Plans the conversations that have no features yet as shards, sends these to all workers, and puts the table together when they
/// are done.
/// </summary>
public sealed class FeaturesConsumer(StepServices services)
    : StepConsumer<ExtractFeatures, FeaturesExtracted>(services)
{
    private const int OverLimitListed = 20;
    private static readonly string[] Tables =
        [ArtifactNames.Conversations, ArtifactNames.Ratings, ArtifactNames.Preferences, ArtifactNames.Benchmark];

    protected override async Task<StepPlan> Plan(StepRun run)
    {
        (FeatureSpace space, _) = await FeatureSpace.Of(run);
        return new StepPlan(new
        {
            space.Digest,
            Template = ChatTemplate.Name,
            space.Dtype,
            space.MaxTokens,
            space.AllowsSpecials,
            run.Objectives
        }, run.Inputs(Tables));
    }

    protected override async Task<StepWork> Work(StepRun run, ConsumeContext context)
    {
        string? entered = await Services.Work.PlanOf(run.Key, run.Cancel);
        ShardPlan? known = entered is null ? null : await ShardPlan.Find(run, entered);
        ShardPlan plan = known ?? await MakePlan(run);
        MessageTransaction transaction = context.GetPayload<MessageTransaction>();
        if (!await transaction.TryBegin(run.Cancel)) return StepWork.Elsewhere;
        // its files are gone
        if (known is null && entered is not null) await WorkStore.ForgetShards(transaction.Database, run.Key, run.Cancel);
        // another plan came first: follow that
        IReadOnlyList<int>? open = await WorkStore.OpenShards(transaction.Database, run.Key, plan.Id, plan.Shards, run.Cancel);
        if (open is null) return StepWork.More;
        foreach (int shard in open) await context.Send(new Uri($"queue:{ExtractShard.Queue}"), Command(run, plan, shard));
        return open.Count > 0 ? StepWork.Elsewhere : await Finish(run, plan, transaction);
    }

    private static async Task<ShardPlan> MakePlan(StepRun run)
    {
        (FeatureSpace space, BackboneConfig config) = await FeatureSpace.Of(run);
        return await ShardPlan.Make(run, space, config.Parameters);
    }

    private static ExtractShard Command(StepRun run, ShardPlan plan, int shard) => new()
    {
        RunId = run.Id,
        SpecDigest = run.SpecDigest,
        Inputs = run.AllInputs,
        Attempt = run.Attempt,
        StepKey = run.Key.Value,
        Plan = plan.Id,
        Shard = shard,
    };

    private static async Task<StepWork> Finish(StepRun run, ShardPlan plan, MessageTransaction transaction)
    {
        FeatureSpace space = plan.Space;
        HashSet<string> overLimit = [.. plan.OverLimit];
        (List<string> ids, List<string> prompts) = await Within(run, overLimit);
        Dictionary<string, FeatureRow> responses = await run.Services.Steps.FindFeatures(space.Id, FeatureTable.Response, ids, run.Cancel);
        Dictionary<string, FeatureRow> promptRows =
            await run.Services.Steps.FindFeatures(space.Id, FeatureTable.Prompt, prompts, run.Cancel);
        await WorkStore.ForgetShards(transaction.Database, run.Key, run.Cancel);
        if (!ids.TrueForAll(responses.ContainsKey) || !prompts.TrueForAll(promptRows.ContainsKey))
        {
            // A shard was removed from the store since the plan was made, which no longer covers everything: plan anew.
            transaction.AfterCommit = () => run.Services.Scratch.Forget(run.Key, CancellationToken.None);
            return StepWork.More;
        }
        ArtifactRef features = await run.Services.Artifacts.Put(path => FeatureTable.Write(path,
            [.. ids.Select(i => responses[i]), .. prompts.Select(p => promptRows[p])]), run.Cancel);

        FeaturesReport report = await Report(run, plan, ids.Count, overLimit);
        Dictionary<string, ArtifactRef> outputs = new()
        {
            [ArtifactNames.Features] = features,
            [ArtifactNames.FeaturesReport] = await run.PutJson(report)
        };
        FeaturesFigures figures = new()
        {
            Extracted = plan.Conversations,
            Known = ids.Count - plan.Conversations,
            OverLimit = report.OverLimit,
            RatingsLeftOut = report.RatingsLeftOut,
            PreferencesLeftOut = report.PreferencesLeftOut,
            BenchmarkLeftOut = report.BenchmarkLeftOut,
            Dtype = space.Dtype,
            Dimension = space.Dimension,
            SpecialSpellings = plan.SpecialSpellings,
        };
        return new StepWork.Done(outputs, $"{figures.Extracted:N0} conversations extracted, {figures.Known:N0} were known "
            + $"({space.Dtype}, d = {space.Dimension}){LeftOut(report)}", figures);
    }

    /// <summary>The conversations within the limit, and their prompts, each once.</summary>
    private static async Task<(List<string> Ids, List<string> Prompts)> Within(StepRun run, HashSet<string> overLimit)
    {
        List<string> ids = [], prompts = [];
        HashSet<string> seenPrompts = [];
        await foreach (Conversation conversation in run.ReadEach(ArtifactNames.Conversations, CanonicalTables.ReadConversations))
        {
            if (overLimit.Contains(conversation.Id)) continue;
            ids.Add(conversation.Id);
            if (seenPrompts.Add(conversation.PromptId)) prompts.Add(conversation.PromptId);
        }
        return (ids, prompts);
    }

    private static async Task<FeaturesReport> Report(StepRun run, ShardPlan plan, int conversations, HashSet<string> overLimit)
    {
        FeatureSpace space = plan.Space;
        (int ratings, int preferences, int benchmark) = await CountLeftOut(run, overLimit);
        return new FeaturesReport
        {
            BackboneDigest = space.Digest,
            Template = ChatTemplate.Name,
            Dtype = space.Dtype,
            MaxTokens = space.MaxTokens,
            Dimension = space.Dimension,
            AllowsSpecials = space.AllowsSpecials,
            SpecialSpellings = plan.SpecialSpellings,
            Space = space.Id,
            Conversations = conversations,
            OverLimit = overLimit.Count,
            OverLimitIds = [.. plan.OverLimit.Take(OverLimitListed)],
            RatingsLeftOut = ratings,
            PreferencesLeftOut = preferences,
            BenchmarkLeftOut = benchmark,
        };
    }

    /// <summary>The rows whose conversations are longer than the limit.</summary>
    private static async Task<(int Ratings, int Preferences, int Benchmark)> CountLeftOut(StepRun run, HashSet<string> overLimit)
    {
        int ratings = (await run.Read(ArtifactNames.Ratings, path => CanonicalTables.ReadRatings(path, [])))
            .Count(r => overLimit.Contains(r.ConversationId));
        int preferences = (await run.Read(ArtifactNames.Preferences, CanonicalTables.ReadPreferences))
            .Count(p => overLimit.Contains(p.ChosenId) || overLimit.Contains(p.RejectedId));
        int benchmark = (await run.Read(ArtifactNames.Benchmark, CanonicalTables.ReadBenchmark))
            .Count(p => overLimit.Contains(p.ChosenId) || overLimit.Contains(p.RejectedId));
        return (ratings, preferences, benchmark);
    }

    private static string LeftOut(FeaturesReport report)
    {
        string leftOut = report.OverLimit == 0
            ? ""
            : $"; {report.OverLimit:N0} over {report.MaxTokens:N0} tokens left out, with {report.RatingsLeftOut:N0} ratings, "
                + $"{report.PreferencesLeftOut:N0} pairs and {report.BenchmarkLeftOut:N0} benchmark pairs";
        if (report.SpecialSpellings == 0) return leftOut;
        string readAs = report.AllowsSpecials ? "control tokens, as the spec allows" : "text";
        return $"{leftOut}; {report.SpecialSpellings:N0} with the spelling of a control token, read as {readAs}";
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
