using System.Text.Json.Serialization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Datasets;
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
        _services = new ServiceCollection().AddLogging().AddSingleton<TimeProvider>(_time).AddEmbeddedPersistence(workspace).BuildServiceProvider();
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
        RunState forgotten = await Complete("m", "1", "shard 1"), promoted = await Complete("m", "2", "shard 2"), held = await Complete("m", "3", "shard 1b"), newest = await Complete("m", "4", "shard 4");
        await Registry.Point((await Registry.Versions("m", default)).Single(v => v.Version == 2), "champion", null, new { }, "model.promoted", default);
        await Registry.Point((await Registry.Versions("m", default)).Single(v => v.Version == 4), "champion", null, new { }, "model.promoted", default); // what it was before may be asked for
        await _services.GetRequiredService<HoldBooks>().Hold($"run/{held.CorrelationId}", "a complaint", default);
        DatasetAddition file = await _services.GetRequiredService<DatasetBooks>().Add("d", "f.jsonl", new MemoryStream("{}\n"u8.ToArray()), default);
        _time.Advance(TimeSpan.FromDays(60));
        RunState recent = await Complete("n", "5", "shard 5"), working = await Complete("n", "6", "shard 6", state: "Evaluating");

        Collection would = await Collector.Collect(Rules, dryRun: true, default);
        would.Artifacts.Select(a => a.Sha256).ShouldBe([.. Own(forgotten)], ignoreOrder: true, "shards stay while a run is in progress, which may read any");
        would.Artifacts.ShouldAllBe(a => a.Why.Contains($"of run {forgotten.CorrelationId} (m)"));
        would.Kept.ShouldBe(new Dictionary<string, int> { ["an alias meant it"] = 2, ["legal hold"] = 1, ["recent"] = 1, ["in progress"] = 1 }, ignoreOrder: true);
        foreach (string sha256 in Own(forgotten)) (await Store.Has(sha256, default)).ShouldBeTrue("a dry run removes nothing");

        await using (ArmoFlowDbContext db = await Context()) await db.Runs.Where(r => r.CorrelationId == working.CorrelationId).ExecuteUpdateAsync(set => set.SetProperty(r => r.CurrentState, "Completed").SetProperty(r => r.EndedAt, _time.GetUtcNow()), TestContext.Current.CancellationToken);
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
            (await db.FeatureRows.AnyAsync(f => f.Shard == lone, TestContext.Current.CancellationToken)).ShouldBeFalse();
            (await db.AuditEvents.CountAsync(e => e.Action == "gc.collected", TestContext.Current.CancellationToken)).ShouldBe(1);
        }
        (await Collector.Collect(Rules, dryRun: false, default)).Artifacts.ShouldBeEmpty("the second finds nothing more");

        await _services.GetRequiredService<HoldBooks>().Release($"run/{held.CorrelationId}", default);
        (await Collector.Collect(Rules, dryRun: true, default)).Artifacts.Select(a => a.Sha256).ShouldBe([.. Own(held), Shard(held)], ignoreOrder: true);
    }

    [Fact]
    public async Task A_collection_that_was_cut_short_is_finished_by_the_next_and_what_was_made_anew_stays()
    {
        RunState old = await Complete("m", "1", "shard 1"), newest = await Complete("m", "2", "shard 2");
        string gone = Own(old).First(), anew = Own(newest).First();
        await using (ArmoFlowDbContext db = await Context())
        {
            // Killed between the tombstones and the bytes; and one whose artifact a kept run has made again since.
            db.Tombstones.AddRange(new Tombstone { Sha256 = gone, Bytes = 1, Why = "before the crash", At = _time.GetUtcNow() }, new Tombstone { Sha256 = anew, Bytes = 1, Why = "before it was made anew", At = _time.GetUtcNow() });
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
        (reusing.CurrentState, reusing.EndedAt) = ("Completed", _time.GetUtcNow().AddMinutes(1));
        string reused = old.Artifacts[ArtifactNames.Regression].Sha256;
        reusing.Artifacts[ArtifactNames.Regression] = old.Artifacts[ArtifactNames.Regression];
        Collector collector = new(new HookedContexts(_services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>(), before: 2, async () =>
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
    private sealed class HookedContexts(IDbContextFactory<ArmoFlowDbContext> contexts, int before, Func<Task> hook) : IDbContextFactory<ArmoFlowDbContext>
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
        ForgettingBooks books = _services.GetRequiredService<ForgettingBooks>();
        string conversation = new('a', 64), other = new('b', 64);
        await Complete("m", "1", "s1", conversations: [conversation, other]);
        await Complete("m", "2", "s2", conversations: [other]);
        await Complete("n", "3", "s3", conversations: [conversation], source: "spam");
        (await books.Users(Exclusion.Conversation, conversation, default)).Select(u => (u.Model, u.Version)).ShouldBe([("m", 1), ("n", 1)]);
        (await books.Users(Exclusion.Source, "spam", default)).Select(u => u.Model).ShouldBe(["n"]);
        (await books.Users(Exclusion.Conversation, conversation, default)).ShouldAllBe(u => u.IsCertain);
        await Store.Delete((await Find("m", 1)).Artifacts[ArtifactNames.Conversations].Sha256, default);
        (await books.Users(Exclusion.Conversation, conversation, default)).Select(u => (u.Model, u.IsCertain)).ShouldBe([("m", false), ("n", true)], "what one read was collected: nobody can say");
        await books.Exclude(Exclusion.Conversation, conversation, "asked to", default);
        await books.Exclude(Exclusion.Conversation, conversation, "asked again", default);
        await books.Exclude(Exclusion.Source, "spam", "it is", default);
        (await books.List(default)).Select(e => (e.Kind, e.Reason)).ShouldBe([("conversation", "asked to"), ("source", "it is")]);
        await using ArmoFlowDbContext db = await Context();
        RunSpec spec = await ForgettingBooks.Apply(db, Spec("m", "spam", "good"), default);
        spec.Ratings.Select(r => r.Name).ShouldBe(["good"]);
        spec.Forgotten.ShouldBe([conversation]);
        foreach ((string kind, string value, string reason, string said) in new[] { ("person", "x", "y", "expected conversation or source"), ("conversation", "x", "y", "hex digits"), ("source", "", "y", "a source's name"), ("source", "x", " ", "needs a reason") })
            (await Should.ThrowAsync<RetentionException>(() => books.Exclude(kind, value, reason, default))).Message.ShouldContain(said);
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

    /// <summary>A run as its saga leaves it: with its artifacts in the store, a features table, and the shard that the table names.</summary>
    private async Task<RunState> Complete(string model, string weights, string shard, string state = "Completed", string[]? conversations = null, string source = "s")
    {
        RunState run = new() { CorrelationId = Guid.NewGuid() };
        run.Open(Spec(model, source), _time.GetUtcNow());
        run.CurrentState = state;
        if (state == "Completed") run.EndedAt = _time.GetUtcNow();
        foreach (string name in new[] { ArtifactNames.Regression, ArtifactNames.Decorrelation, ArtifactNames.Gating, ArtifactNames.FeaturesReport }) run.Artifacts[name] = await Store.PutText($"{name} {weights}");
        ArtifactRef features = await Store.PutText(shard);
        run.Artifacts[ArtifactNames.Features] = await Store.Put(path => Write(path, [new ShardRow { Shard = features.Sha256, Id = weights }]));
        if (conversations is not null) run.Artifacts[ArtifactNames.Conversations] = await Store.Put(path => Write(path, [.. conversations.Select(c => new ShardRow { Id = c, Shard = weights })]));
        _shards[run.CorrelationId] = features.Sha256;
        await using ArmoFlowDbContext db = await Context();
        db.Runs.Add(run);
        db.FeatureRows.Add(new FeatureRow { Space = "s", Kind = "r", Id = weights, Shard = features.Sha256 });
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

    private Task<ArmoFlowDbContext> Context() => _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();
}
