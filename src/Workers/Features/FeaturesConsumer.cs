using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Work;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using MassTransit;

namespace ArmoFlow.Workers.Features;

/// <summary>
/// Plans the conversations that have no features yet as shards, sends these to all workers, and puts the table together when they
/// are done.
/// </summary>
public sealed class FeaturesConsumer(StepServices services)
    : StepConsumer<ExtractFeatures, FeaturesExtracted>(services)
{
    private const int LeftOutListed = 20;
    private static readonly string[] Tables =
        [ArtifactNames.Conversations, ArtifactNames.Ratings, ArtifactNames.Preferences, ArtifactNames.Benchmark];

    protected override async Task<StepPlan> Plan(StepRun run)
    {
        (FeatureSpace space, _) = await FeatureSpace.Of(run);
        return new StepPlan(new
        {
            space.Digest,
            space.Template,
            space.Dtype,
            space.MaxTokens,
            space.Encoding.AllowsSpecials,
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
        HashSet<string> leftOut = [.. plan.OverLimit, .. plan.Refused.Select(r => r.Id)];
        FeatureEntries entries = new(run, space, leftOut);
        ArtifactRef? features = await entries.Store();
        await WorkStore.ForgetShards(transaction.Database, run.Key, run.Cancel);
        if (features is null)
        {
            // A shard was removed from the store since the plan was made, which no longer covers everything: plan anew.
            transaction.AfterCommit = () => run.Services.Scratch.Forget(run.Key, CancellationToken.None);
            return StepWork.More;
        }
        FeaturesReport report = await Report(run, plan, entries.Conversations, leftOut);
        Dictionary<string, ArtifactRef> outputs = new()
        {
            [ArtifactNames.Features] = features,
            [ArtifactNames.FeaturesReport] = await run.PutJson(report)
        };
        FeaturesFigures figures = Figures(plan, report, await plan.Tokens(run));
        string computed = figures.Tokens == 0 ? "" : $", {figures.TokensComputed:N0} of {figures.Tokens:N0} tokens computed";
        return new StepWork.Done(outputs, $"{figures.Extracted:N0} conversations extracted, {figures.Known:N0} were known "
            + $"({space.Dtype}, d = {space.Dimension}{computed}){LeftOut(report)}", figures);
    }

    private static FeaturesFigures Figures(ShardPlan plan, FeaturesReport report, ShardTokens tokens) => new()
    {
        Extracted = plan.Conversations,
        Known = report.Conversations - plan.Conversations,
        Tokens = tokens.Asked,
        TokensComputed = tokens.Computed,
        OverLimit = report.OverLimit,
        Refused = report.Refused,
        RatingsLeftOut = report.RatingsLeftOut,
        PreferencesLeftOut = report.PreferencesLeftOut,
        BenchmarkLeftOut = report.BenchmarkLeftOut,
        Dtype = plan.Space.Dtype,
        Dimension = plan.Space.Dimension,
        SpecialSpellings = plan.SpecialSpellings,
    };

    private static async Task<FeaturesReport> Report(StepRun run, ShardPlan plan, int conversations, HashSet<string> leftOut)
    {
        FeatureSpace space = plan.Space;
        (int ratings, int preferences, int benchmark) = leftOut.Count == 0 ? default : await CountLeftOut(run, leftOut);
        return new FeaturesReport
        {
            BackboneDigest = space.Digest,
            Template = space.Template,
            Dtype = space.Dtype,
            MaxTokens = space.MaxTokens,
            Dimension = space.Dimension,
            AllowsSpecials = space.Encoding.AllowsSpecials,
            TemplateDate = space.Encoding.TemplateDate,
            PoolsAsClassifier = space.Encoding.PoolsAsClassifier,
            SpecialSpellings = plan.SpecialSpellings,
            Space = space.Id,
            Conversations = conversations,
            OverLimit = plan.OverLimit.Count,
            OverLimitIds = [.. plan.OverLimit.Take(LeftOutListed)],
            Refused = plan.Refused.Count,
            RefusedIds = plan.Refused.Count == 0 ? null : [.. plan.Refused.Take(LeftOutListed)],
            RatingsLeftOut = ratings,
            PreferencesLeftOut = preferences,
            BenchmarkLeftOut = benchmark,
        };
    }

    /// <summary>The rows whose conversations have no features.</summary>
    private static async Task<(int Ratings, int Preferences, int Benchmark)> CountLeftOut(StepRun run, HashSet<string> leftOut)
    {
        int ratings = (await run.Read(ArtifactNames.Ratings, path => CanonicalTables.ReadRatings(path, [])))
            .Count(r => leftOut.Contains(r.ConversationId));
        int preferences = (await run.Read(ArtifactNames.Preferences, CanonicalTables.ReadPreferences))
            .Count(p => leftOut.Contains(p.ChosenId) || leftOut.Contains(p.RejectedId));
        int benchmark = (await run.Read(ArtifactNames.Benchmark, CanonicalTables.ReadBenchmark))
            .Count(p => leftOut.Contains(p.ChosenId) || leftOut.Contains(p.RejectedId));
        return (ratings, preferences, benchmark);
    }

    /// <summary>How many conversations have no features, and why.</summary>
    internal static string WithoutFeatures(FeaturesReport report) => $"{report.OverLimit:N0} over {report.MaxTokens:N0} tokens"
        + (report.Refused == 0 ? "" : $" and {report.Refused:N0} that the chat template refuses (the first: {report.RefusedIds![0].Why})");

    private static string LeftOut(FeaturesReport report)
    {
        string leftOut = report.OverLimit + report.Refused == 0
            ? ""
            : $"; {WithoutFeatures(report)} left out, with {report.RatingsLeftOut:N0} ratings, "
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
