using System.Text.Json.Serialization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Features;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Parquet.Serialization;
using Parquet.Serialization.Attributes;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>What goes, what must stay, and that a collection which is cut short loses nothing.</summary>
public sealed class RetentionTests : IAsyncLifetime
{
    private static readonly RetentionRules Rules = new(TimeSpan.FromDays(30), KeepLast: 1);
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-retention-").FullName;
    private readonly FakeTimeProvider _time = new(new DateTimeOffset(2026, 6, 1, 0, 0, 0, TimeSpan.Zero));
    private ServiceProvider _services = null!;

    private Collector Collector => _services.GetRequiredService<Collector>();
    private ArtifactStore Store => _services.GetRequiredService<ArtifactStore>();
    private ModelRegistry Registry => _services.GetRequiredService<ModelRegistry>();

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        _services =
            new ServiceCollection().AddLogging().AddSingleton<TimeProvider>(_time).AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = await Context();
        await db.Database.MigrateAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task What_a_recent_run_an_alias_of_any_time_a_hold_or_the_newest_version_refers_to_stays()
    {
        RunState forgotten = await Complete("m", "1", "shard 1"), promoted = await Complete("m", "2", "shard 2"),
            held = await Complete("m", "3", "shard 1b"), newest = await Complete("m", "4", "shard 4");
        await Registry.MoveAlias((await Registry.Versions("m", default)).Single(v => v.Version == 2), "champion", null, new { },
            "model.promoted", default);
        // what it was before may be asked for
        await Registry.MoveAlias((await Registry.Versions("m", default)).Single(v => v.Version == 4), "champion", null, new { },
            "model.promoted", default);
        await _services.GetRequiredService<HoldStore>().Hold($"run/{held.CorrelationId}", "a complaint", default);
        DatasetAddition file =
            await _services.GetRequiredService<DatasetStore>().Add("d", "f.jsonl", new MemoryStream("{}\n"u8.ToArray()), default);
        _time.Advance(TimeSpan.FromDays(60));
        RunState recent = await Complete("n", "5", "shard 5"), working = await Complete("n", "6", "shard 6", state: "Evaluating");

        Collection would = await Collector.Collect(Rules, dryRun: true, default);
        would.Artifacts.Select(a => a.Sha256)
            .ShouldBe([.. Own(forgotten)], ignoreOrder: true, "shards stay while a run is in progress, which may read any");
        would.Artifacts.ShouldAllBe(a => a.Why.Contains($"of run {forgotten.CorrelationId} (m)"));
        would.Kept.ShouldBe(new Dictionary<string, int>
        {
            ["an alias meant it"] = 2,
            ["legal hold"] = 1,
            ["recent"] = 1,
            ["in progress"] = 1
        }, ignoreOrder: true);
        foreach (string sha256 in Own(forgotten)) (await Store.Has(sha256, default)).ShouldBeTrue("a dry run removes nothing");

        await using (ArmoFlowDbContext db = await Context())
        {
            await db.Runs.Where(r => r.CorrelationId == working.CorrelationId)
                .ExecuteUpdateAsync(set => set.SetProperty(r => r.CurrentState, "Completed").SetProperty(r => r.EndedAt, _time.GetUtcNow()),
                    TestContext.Current.CancellationToken);
        }
        string lone = Shard(forgotten);
        Collection did = await Collector.Collect(Rules, dryRun: false, default);
        did.Artifacts.Select(a => a.Sha256).ShouldBe([.. Own(forgotten), lone], ignoreOrder: true);
        did.Bytes.ShouldBe(did.Artifacts.Sum(a => a.Bytes));
        foreach (Collected gone in did.Artifacts) (await Store.Has(gone.Sha256, default)).ShouldBeFalse();
        foreach (RunState kept in new[] { promoted, held, newest, recent, working })
            foreach (string sha256 in Own(kept).Append(Shard(kept))) (await Store.Has(sha256, default)).ShouldBeTrue();
        (await Store.Has(file.Sha256, default)).ShouldBeTrue();
        await using (ArmoFlowDbContext db = await Context())
        {
            (await db.Tombstones.CountAsync(t => t.RemovedAt != null, TestContext.Current.CancellationToken)).ShouldBe(did.Artifacts.Count);
            (await db.Runs.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(6, "what is known of a run stays");
            (await db.FeatureShards.AnyAsync(s => s.Sha256 == lone, TestContext.Current.CancellationToken)).ShouldBeFalse();
            (await db.AuditEvents.CountAsync(e => e.Action == "gc.collected", TestContext.Current.CancellationToken)).ShouldBe(1);
        }
        (await Collector.Collect(Rules, dryRun: false, default)).Artifacts.ShouldBeEmpty("the second finds nothing more");

        await _services.GetRequiredService<HoldStore>().Release($"run/{held.CorrelationId}", default);
        (await Collector.Collect(Rules, dryRun: true, default)).Artifacts
            .Select(a => a.Sha256)
            .ShouldBe([.. Own(held), Shard(held)], ignoreOrder: true);
    }

    [Fact]
    public async Task A_collection_that_was_cut_short_is_finished_by_the_next_and_what_was_made_anew_stays()
    {
        RunState old = await Complete("m", "1", "shard 1"), newest = await Complete("m", "2", "shard 2");
        string gone = Own(old).First(), anew = Own(newest).First();
        await using (ArmoFlowDbContext db = await Context())
        {
            // Killed between the tombstones and the bytes; and one whose artifact a kept run has made again since.
            db.Tombstones.AddRange(new Tombstone { Sha256 = gone, Bytes = 1, Why = "before the crash", At = _time.GetUtcNow() },
                new Tombstone { Sha256 = anew, Bytes = 1, Why = "before it was made anew", At = _time.GetUtcNow() });
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        _time.Advance(TimeSpan.FromDays(60));
        await Collector.Collect(Rules, dryRun: false, default);
        (await Store.Has(gone, default)).ShouldBeFalse();
        (await Store.Has(anew, default)).ShouldBeTrue();
        await using (ArmoFlowDbContext db = await Context())
        {
            (await db.Tombstones.AnyAsync(t => t.Sha256 == anew, TestContext.Current.CancellationToken)).ShouldBeFalse();
            (await db.Tombstones.AnyAsync(t => t.RemovedAt == null, TestContext.Current.CancellationToken)).ShouldBeFalse();
        }
    }

    [Fact]
    public async Task What_a_run_has_come_to_refer_to_since_it_was_marked_stays_and_what_cannot_be_read_keeps_all_shards()
    {
        RunState old = await Complete("m", "1", "shard 1"), newest = await Complete("m", "2", "shard 2");
        _time.Advance(TimeSpan.FromDays(60));
        // Another run has reused the old one's regression between the marking and the removing.
        RunState reusing = new() { CorrelationId = Guid.NewGuid() };
        reusing.Open(Spec("o", "s"), _time.GetUtcNow());
        reusing.CurrentState = "Completed";
        reusing.EndedAt = _time.GetUtcNow().AddMinutes(1);
        string reused = old.Artifacts[ArtifactNames.Regression].Sha256;
        reusing.Artifacts[ArtifactNames.Regression] = old.Artifacts[ArtifactNames.Regression];
        Collector collector =
            new(new HookedContexts(_services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>(), before: 2, async () =>
            {
                await using ArmoFlowDbContext db = await Context();
                db.Runs.Add(reusing);
                await db.SaveChangesAsync();
            }), Store, new ScratchSpace(_folder, null), _time);
        (await collector.Collect(Rules, dryRun: false, default)).Artifacts.Select(a => a.Sha256).ShouldContain(reused, "it was marked");
        (await Store.Has(reused, default)).ShouldBeTrue("and came to be referred to");
        (await Store.Has(old.Artifacts[ArtifactNames.Gating].Sha256, default)).ShouldBeFalse();

        RunState later = await Complete("m", "3", "shard 3");
        _time.Advance(TimeSpan.FromDays(60));
        await Store.Delete(later.Artifacts[ArtifactNames.Features].Sha256, default);
        await Collector.Collect(Rules, dryRun: false, default);
        (await Store.Has(Shard(later), default)).ShouldBeTrue("the table that would name it cannot be read");
        (await Store.Has(Own(newest).First(), default)).ShouldBeFalse();
    }

    /// <summary>Lets something happen before one of the contexts that are asked for.</summary>
    private sealed class HookedContexts(
        IDbContextFactory<ArmoFlowDbContext> contexts,
        int before,
        Func<Task> hook) : IDbContextFactory<ArmoFlowDbContext>
    {
        private int _asked;

        public ArmoFlowDbContext CreateDbContext() => throw new NotSupportedException();

        public async Task<ArmoFlowDbContext> CreateDbContextAsync(CancellationToken cancellationToken = default)
        {
            if (++_asked == before) await hook();
            return await contexts.CreateDbContextAsync(cancellationToken);
        }
    }

    [Fact]
    public async Task What_is_forgotten_is_in_no_later_run_and_the_models_that_used_it_are_known()
    {
        ForgettingStore store = _services.GetRequiredService<ForgettingStore>();
        string conversation = new('a', 64), other = new('b', 64);
        await Complete("m", "1", "s1", conversations: [conversation, other]);
        await Complete("m", "2", "s2", conversations: [other]);
        await Complete("n", "3", "s3", conversations: [conversation], source: "spam");
        (await store.Users(ExclusionKind.Conversation, conversation, default))
            .Select(u => (u.Model, u.Version))
            .ShouldBe([("m", 1), ("n", 1)]);
        (await store.Users(ExclusionKind.Source, "spam", default)).Select(u => u.Model).ShouldBe(["n"]);
        (await store.Users(ExclusionKind.Conversation, conversation, default)).ShouldAllBe(u => u.IsCertain);
        await Store.Delete((await Find("m", 1)).Artifacts[ArtifactNames.Conversations].Sha256, default);
        (await store.Users(ExclusionKind.Conversation, conversation, default))
            .Select(u => (u.Model, u.IsCertain))
            .ShouldBe([("m", false), ("n", true)], "what one read was collected: nobody can say");
        await store.Exclude(ExclusionKind.Conversation, conversation, "asked to", default);
        await store.Exclude(ExclusionKind.Conversation, conversation, "asked again", default);
        await store.Exclude(ExclusionKind.Source, "spam", "it is", default);
        (await store.List(default)).Select(e => (e.Kind, e.Reason))
            .ShouldBe([(ExclusionKind.Conversation, "asked to"), (ExclusionKind.Source, "it is")]);
        await using ArmoFlowDbContext db = await Context();
        RunSpec spec = await ForgettingStore.Apply(db, Spec("m", "spam", "good"), default);
        spec.Ratings.Select(r => r.Name).ShouldBe(["good"]);
        spec.Forgotten.ShouldBe([conversation]);
        Should.Throw<RetentionException>(() => ForgettingStore.KindOf("person")).Message.ShouldContain("expected conversation or source");
        foreach ((ExclusionKind kind, string value, string reason, string said) in new[]
        {
            (ExclusionKind.Conversation, "x", "y", "hex digits"),
            (ExclusionKind.Source, "", "y", "a source's name"),
            (ExclusionKind.Source, "x", " ", "needs a reason")
        })
            (await Should.ThrowAsync<RetentionException>(() => store.Exclude(kind, value, reason, default))).Message.ShouldContain(said);
    }

    [Fact]
    public async Task What_is_forgotten_is_taken_out_of_the_tables_that_are_kept_and_what_stays_is_said_before()
    {
        Redaction redaction = _services.GetRequiredService<Redaction>();
        ForgettingStore store = _services.GetRequiredService<ForgettingStore>();
        string mine = new('a', 64), theirs = new('b', 64), third = new('c', 64);
        RunState run = await Complete("m", "1", "vectors");
        await Give(run, [mine, theirs, third], mine, theirs, third);
        await Registry.MoveAlias((await Registry.Versions("m", default)).Single(), "champion", null, new { }, "model.promoted", default);
        string before = run.Artifacts[ArtifactNames.Conversations].Sha256, benchmark = run.Artifacts[ArtifactNames.Benchmark].Sha256;

        ForgetPlan plan = await redaction.Plan(ExclusionKind.Conversation, mine, default);
        plan.UsedBy.Single().Model.ShouldBe("m");
        plan.Rewritten.ShouldContain(before);
        plan.Removed.ShouldContain(Shard(run));
        plan.Stays.ShouldContain(s => s.Contains("m@1"));
        (await Store.Has(before, default)).ShouldBeTrue("a plan does nothing");
        (await store.List(default)).ShouldBeEmpty();

        await _services.GetRequiredService<HoldStore>().Hold("model/m", "a complaint", default);
        (await Should.ThrowAsync<RetentionException>(() =>
            redaction.Forget(ExclusionKind.Conversation, mine, "asked to", default))).Message.ShouldContain("holds release model/m");
        await _services.GetRequiredService<HoldStore>().Release("model/m", default);
        await redaction.Forget(ExclusionKind.Conversation, mine, "asked to", default);

        RunState after = await Find("m", 1);
        (await Store.Has(before, default)).ShouldBeFalse();
        (await Store.Has(Shard(run), default)).ShouldBeFalse("its vectors are made from it");
        (await Texts(after, ArtifactNames.Conversations, "id")).ShouldBe([theirs, third]);
        (await Texts(after, ArtifactNames.Conversations, "messages")).ShouldNotContain(m => m.Contains(mine));
        (await Texts(after, ArtifactNames.Ratings, "conversation_id")).ShouldBe([theirs, third]);
        (await Texts(after, ArtifactNames.Preferences, "chosen_id")).ShouldBe([theirs]);
        after.Artifacts[ArtifactNames.Benchmark].Sha256.ShouldBe(benchmark, "which did not have it");
        after.Artifacts[ArtifactNames.Regression].ShouldBe(run.Artifacts[ArtifactNames.Regression]);
        (await store.Users(ExclusionKind.Conversation, mine, default)).Single().ShouldSatisfyAllConditions(u => u.Model.ShouldBe("m"), u =>
            u.IsCertain.ShouldBeTrue("it is remembered that it was"));
        TombstoneStore tombstones = _services.GetRequiredService<TombstoneStore>();
        (await tombstones.Find(before, default))!.ReplacedBy.ShouldBe(after.Artifacts[ArtifactNames.Conversations].Sha256);
        (await tombstones.Explain(new ArtifactLostException(before, "missing"),
            default)).ShouldContain($"rows were taken out: conversation {mine} was forgotten on 2026-06-01 by");
        _time.Advance(TimeSpan.FromDays(60));
        await Complete("n", "2", "other vectors");
        _time.Advance(TimeSpan.FromDays(60));
        await Collector.Collect(Rules, dryRun: false, default);
        (await tombstones.Find(before, default)).ShouldNotBeNull("a collection does not take it for made anew");

        (await Should.ThrowAsync<RetentionException>(() =>
            store.Lift(ExclusionKind.Conversation, theirs, "never was", default))).Message.ShouldContain("is not forgotten");
        await store.Lift(ExclusionKind.Conversation, mine, "a mistake", default);
        (await store.List(default)).ShouldBeEmpty();
        (await store.List(default, withLifted: true)).Single().LiftedReason.ShouldBe("a mistake");
        await using ArmoFlowDbContext db = await Context();
        (await ForgettingStore.Apply(db, Spec("m", "s"), default)).Forgotten.ShouldBeNull();
    }

    [Fact]
    public async Task A_source_is_forgotten_with_its_files_under_every_name()
    {
        string mine = new('a', 64), theirs = new('b', 64), third = new('c', 64), file = new('f', 64);
        RunState run = await Complete("m", "1", "vectors");
        await Give(run, [mine, theirs, third], mine, theirs, third,
            read: [("ratings/s/data/spam.jsonl", file), ("preferences/p/pairs.jsonl", new string('e', 64))]);
        await _services.GetRequiredService<Redaction>().Forget(ExclusionKind.Source, "s", "licence withdrawn", default);
        ForgettingStore store = _services.GetRequiredService<ForgettingStore>();
        (await store.List(default)).Select(e => (e.Kind, e.Value, e.Origin))
            .ShouldBe([(ExclusionKind.File, file, "source/s"), (ExclusionKind.Source, "s", null)]);
        RunState after = await Find("m", 1);
        (await Texts(after, ArtifactNames.Ratings, "conversation_id")).ShouldBeEmpty();
        (await Texts(after, ArtifactNames.Conversations, "id")).ShouldBe([mine, theirs],
            "the pairs' conversations are another source's too");
        await using (ArmoFlowDbContext db = await Context())
        {
            RunSpec renamed = await ForgettingStore.Apply(db, Spec("m", "another-name"), default);
            (renamed.Ratings.Single().Name, renamed.ForgottenFiles).ShouldBe(("another-name", [file]), new NameAndFiles());
            (await Should.ThrowAsync<RetentionException>(() =>
                ForgettingStore.Apply(db, Spec("m", "s"), default))).Message.ShouldContain("source s was forgotten on 2026-06-01 by");
        }
        await store.Lift(ExclusionKind.Source, "s", "settled", default);
        (await store.List(default)).ShouldBeEmpty("its files are lifted with it");
    }

    private sealed class NameAndFiles : IEqualityComparer<(string, IReadOnlyList<string>?)>
    {
        public bool Equals((string, IReadOnlyList<string>?) a, (string, IReadOnlyList<string>?) b) =>
            a.Item1 == b.Item1 && a.Item2!.SequenceEqual(b.Item2!);
        public int GetHashCode((string, IReadOnlyList<string>?) value) => value.Item1.GetHashCode(StringComparison.Ordinal);
    }

    private async Task<string[]> Texts(RunState run, string table, string column)
    {
        List<string> texts = [];
        await foreach (string[] row in ParquetRows.Read(await Store.Open(run.Artifacts[table].Sha256, default), [column],
            default)) texts.Add(row[0]);
        return [.. texts];
    }

    /// <summary>
    /// The four tables of ingestion: each conversation rated by source s, a pair of the first two and one of the second and third by
    /// source p.
    /// </summary>
    private async Task Give(RunState run, string[] conversations, string first, string second, string third,
        (string Name, string Sha256)[]? read = null)
    {
        run.Artifacts[ArtifactNames.Conversations] = await Table(conversations.Select(c =>
            new ConversationRow { Id = c, PromptId = c, Messages = $"text of {c}" }));
        run.Artifacts[ArtifactNames.Ratings] = await Table(conversations.Select(c =>
            new RatingsRow { ConversationId = c, Source = "s", Helpful = c == second ? null : 0.5 }));
        run.Artifacts[ArtifactNames.Preferences] = await Table([new PairRow { Chosen = first, Rejected = second, Source = "p" },
            new PairRow { Chosen = second, Rejected = read is null ? third : first, Source = "p" }]);
        run.Artifacts[ArtifactNames.Benchmark] = await Table([new BenchmarkTableRow { Id = "1", Chosen = second, Rejected = read is null
            ? third : second }]);
        run.Steps.Single(s => s.Name == StepNames.Ingestion).Key = $"key {run.CorrelationId}";
        await using ArmoFlowDbContext db = await Context();
        db.Update(run);
        db.FeatureShards.Add(FeatureShard.Of("s", Shard(run), [FeatureKey.Of(first)], []));
        if (read is not null)
        {
            db.StepResults.Add(new StepResult
            {
                Key = $"key {run.CorrelationId}",
                Step = StepNames.Ingestion,
                Artifacts = [.. read.Select(r => new StepArtifact { Key = $"key {run.CorrelationId}", Name = r.Name, Sha256 = r.Sha256 })]
            });
        }
        await db.SaveChangesAsync();

        async Task<ArtifactRef> Table<T>(IEnumerable<T> rows) where T : class, new() => await Store.Put(async path =>
        {
            await using FileStream stream = new(path, FileMode.Create, FileAccess.ReadWrite);
            await ParquetSerializer.SerializeAsync(rows, stream);
        });
    }

    private sealed class ConversationRow
    {
        [JsonPropertyName("id"), ParquetRequired]
        public string Id { get; set; } = "";

        [JsonPropertyName("prompt_id"), ParquetRequired]
        public string PromptId { get; set; } = "";

        [JsonPropertyName("messages"), ParquetRequired]
        public string Messages { get; set; } = "";
    }

    private sealed class RatingsRow
    {
        [JsonPropertyName("conversation_id"), ParquetRequired]
        public string ConversationId { get; set; } = "";

        [JsonPropertyName("source"), ParquetRequired]
        public string Source { get; set; } = "";

        [JsonPropertyName("rating:helpful")]
        public double? Helpful { get; set; }
    }

    private sealed class PairRow
    {
        [JsonPropertyName("chosen_id"), ParquetRequired]
        public string Chosen { get; set; } = "";

        [JsonPropertyName("rejected_id"), ParquetRequired]
        public string Rejected { get; set; } = "";

        [JsonPropertyName("source"), ParquetRequired]
        public string Source { get; set; } = "";
    }

    private sealed class BenchmarkTableRow
    {
        [JsonPropertyName("id"), ParquetRequired]
        public string Id { get; set; } = "";

        [JsonPropertyName("chosen_id"), ParquetRequired]
        public string Chosen { get; set; } = "";

        [JsonPropertyName("rejected_id"), ParquetRequired]
        public string Rejected { get; set; } = "";
    }

    private async Task<RunState> Find(string model, int version)
    {
        await using ArmoFlowDbContext db = await Context();
        Guid run = await db.ModelVersions.Where(v => v.Model == model && v.Version == version).Select(v => v.RunId).SingleAsync();
        return await db.Runs.AsNoTracking().SingleAsync(r => r.CorrelationId == run);
    }

    private static RunSpec Spec(string name, params string[] sources) => new()
    {
        Name = name,
        Folder = "/",
        Backbone = new BackboneSpec("b"),
        Ratings = [.. sources.Select(s => new SourceSpec { Name = s, Files = [s], Format = "armorm-ratings", MaxDroppedShare = 0 })],
        Preferences = [],
    };

    private static IEnumerable<string> Own(RunState run) => run.Artifacts.Values.Select(a => a.Sha256);

    private readonly Dictionary<Guid, string> _shards = [];

    private string Shard(RunState run) => _shards[run.CorrelationId];

    /// <summary>
    /// A run as its saga leaves it: with its artifacts in the store, a features table, and the shard that the table names.
    /// </summary>
    private async Task<RunState> Complete(string model, string weights, string shard, string state = "Completed",
        string[]? conversations = null, string source = "s")
    {
        RunState run = new() { CorrelationId = Guid.NewGuid() };
        run.Open(Spec(model, source), _time.GetUtcNow());
        run.CurrentState = state;
        if (state == "Completed") run.EndedAt = _time.GetUtcNow();
        foreach (string name in new[]
        {
            ArtifactNames.Regression,
            ArtifactNames.Decorrelation,
            ArtifactNames.Gating,
            ArtifactNames.FeaturesReport
        })
            run.Artifacts[name] = await Store.PutText($"{name} {weights}");
        ArtifactRef features = await Store.PutText(shard);
        run.Artifacts[ArtifactNames.Features] =
            await Store.Put(path => Write(path, [new ShardRow { Shard = features.Sha256, Id = weights }]));
        if (conversations is not null)
        {
            run.Artifacts[ArtifactNames.Conversations] =
                await Store.Put(path => Write(path, [.. conversations.Select(c => new ShardRow { Id = c, Shard = weights })]));
        }
        _shards[run.CorrelationId] = features.Sha256;
        await using ArmoFlowDbContext db = await Context();
        db.Runs.Add(run);
        db.FeatureShards.Add(FeatureShard.Of("s", features.Sha256, [FeatureKey.Of(features.Sha256)], []));
        if (state == "Completed") await ModelRegistry.Enter(db, run, _time.GetUtcNow(), default);
        await db.SaveChangesAsync();
        return run;
    }

    private static async Task Write(string path, List<ShardRow> rows)
    {
        await using FileStream stream = new(path, FileMode.Create, FileAccess.ReadWrite);
        await ParquetSerializer.SerializeAsync(rows, stream);
    }

    private sealed class ShardRow
    {
        [JsonPropertyName("id"), ParquetRequired]
        public string Id { get; set; } = "";

        [JsonPropertyName("shard"), ParquetRequired]
        public string Shard { get; set; } = "";
    }

    private Task<ArmoFlowDbContext> Context() =>
        _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();
}
