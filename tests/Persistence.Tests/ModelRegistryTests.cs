using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>Versions by content, aliases over time: what was known, when, and by whose decision.</summary>
public sealed class ModelRegistryTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-models-").FullName;
    private readonly AskedTime _time = new(new DateTimeOffset(2026, 11, 1, 0, 0, 0, TimeSpan.Zero));
    private ServiceProvider _services = null!;

    private ModelRegistry Registry => _services.GetRequiredService<ModelRegistry>();

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        _services =
            new ServiceCollection().AddLogging().AddSingleton<TimeProvider>(_time).AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = await Context();
        await db.Database.MigrateAsync();
        foreach (string weights in new[] { "a", "b", "c" }) await Complete(weights);
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_run_that_makes_new_bytes_makes_a_version_and_one_that_makes_the_same_does_not()
    {
        await Complete("b");
        IReadOnlyList<ModelVersion> versions = await Registry.Versions("m", default);
        versions.Select(v => v.Version).ShouldBe([3, 2, 1]);
        (await Registry.Resolve("m", default)).Version.ShouldBe(3, "no champion: the newest");
        (await Registry.Resolve("m@2", default)).Version.ShouldBe(2);
        (await Should.ThrowAsync<RegistryException>(() => Registry.Resolve("m@9", default))).Message.ShouldContain("newest is 3");
        (await Should.ThrowAsync<RegistryException>(() => Registry.Resolve("n", default))).Message.ShouldContain("no model 'n'");
        (await Should.ThrowAsync<RegistryException>(() => Registry.Resolve("m@champion", default))).Message.ShouldContain("no alias");
    }

    [Fact]
    public async Task One_person_is_one_with_a_key_and_without_and_nobody_in_particular_is_none()
    {
        ModelVersion version = await Registry.Resolve("m@1", default);
        Caller.Current = new Caller("ada");
        (await Registry.Approve(version, "champion", "first", default)).ShouldBe(["ada"]);
        Caller.Current = new Caller("key ada");
        (await Registry.Approve(version, "champion", "again", default)).ShouldBe(["ada"]);
        Caller.Current = Caller.OfThisMachine("request");
        (await Should.ThrowAsync<RegistryException>(() => Registry.Approve(version, "champion", "who?", default)))
            .Message.ShouldContain("cannot tell who asks");
        Caller.Current = new Caller("key grace");
        (await Registry.Approve(version, "champion", "second", default)).ShouldBe(["ada", "key grace"]);
    }

    [Fact]
    public async Task An_alias_answers_what_it_meant_when_and_what_was_known_then()
    {
        Caller.Current = new Caller("ada");
        DateTimeOffset start = _time.GetUtcNow();
        await Point(1, "first");
        _time.Advance(TimeSpan.FromDays(10));
        await Point(2, "better");
        _time.Advance(TimeSpan.FromDays(10));
        Caller.Current = new Caller("grace");
        AliasPeriod back = await Registry.RollBack("m", "champion", "it flatters", default);
        (back.Version, back.DecidedBy, back.Reason).ShouldBe((1, "grace", "it flatters"));
        _time.Advance(TimeSpan.FromDays(1));

        (await Version(start.AddDays(5))).ShouldBe(1);
        (await Version(start.AddDays(15))).ShouldBe(2);
        (await Version(start.AddDays(20.5))).ShouldBe(1);
        (await Version(start.AddDays(-1))).ShouldBeNull();
        // On day 5 nobody knew that the first would be replaced: what was known then has no end.
        AliasPeriod then = (await Registry.At("m", "champion", start.AddDays(15), start.AddDays(5), default)).ShouldNotBeNull();
        (then.Version, then.ValidUntil).ShouldBe((1, null));
        (await Registry.Resolve("m", default)).Version.ShouldBe(1);
        (await Registry.List(default)).Single().Aliases.ShouldBe(new Dictionary<string, int> { ["champion"] = 1 });
        AuditPage trail = await _services.GetRequiredService<AuditStore>()
            .Query("subject = 'model/m' AND action IN ('model.promoted', 'model.rolled-back')", null, 10, default);
        trail.Events.Select(e => (e.Action, e.Actor))
            .ShouldBe([("model.rolled-back", "grace"), ("model.promoted", "ada"), ("model.promoted", "ada")]);
    }

    [Fact]
    public async Task What_makes_no_sense_is_refused()
    {
        await Should.ThrowAsync<RegistryException>(() => Registry.RollBack("m", "champion", null, default));
        await Point(1, null);
        (await Should.ThrowAsync<RegistryException>(() => Point(1, null))).Message.ShouldContain("already");
        (await Should.ThrowAsync<RegistryException>(
            () => Registry.RollBack("m", "champion", null, default))).Message.ShouldContain("nothing to roll back to");
        await Should.ThrowAsync<RegistryException>(async () => await Registry.MoveAlias(
            await Registry.Resolve("m@1", default), "../etc", null, Array.Empty<object>(), "model.promoted", default));
        await Should.ThrowAsync<RegistryException>(async () => await Registry.MoveAlias(await Registry.Resolve("m@1", default), "v2", null,
            Array.Empty<object>(), "model.promoted", default));
    }

    [Fact]
    public async Task Each_rollback_goes_one_step_further_back_and_never_to_what_was_rolled_back_from()
    {
        await Complete("d");
        foreach (int version in new[] { 1, 2, 3 }) await Point(version, null);
        (await Back()).ShouldBe(2);
        (await Back()).ShouldBe(1, "not 3, which was rolled back from");
        (await Should.ThrowAsync<RegistryException>(Back)).Message.ShouldContain("nothing to roll back to");
        await Point(4, null);
        await Point(2, "after all");
        (await Should.ThrowAsync<RegistryException>(() => BackTo(3))).Message.ShouldContain("back lie 4, 1");
        (await BackTo(1)).ShouldBe(1);
        await Should.ThrowAsync<RegistryException>(Back);
        await Point(2, null);
        await Point(1, null);
        (await Back()).ShouldBe(2, "version 1 meant something before version 2 too, and was rolled back from");
        (await Should.ThrowAsync<RegistryException>(Back)).Message.ShouldContain("nothing to roll back to");

        Task<int> Back() => BackTo(null);
        async Task<int> BackTo(int? to) => (await Registry.RollBack("m", "champion", null, default, to)).Version;
    }

    [Fact]
    public async Task Gates_of_a_spec_whose_bytes_are_there_already_are_added_to_the_version_and_its_rule_is_held()
    {
        await Complete("a", new PromotionSpec { MinimumScore = 0.9, Automatic = "champion" });
        ModelVersion version = await Registry.Resolve("m@1", default);
        (version.Gates!.MinimumScore, version.AwaitsAlias).ShouldBe((0.9, "champion"));
        await Complete("a", new PromotionSpec { MinimumScore = 0.5, MinimumHeldOut = 0.7 });
        (await Registry.Resolve("m@1", default)).Gates.ShouldSatisfyAllConditions(g => g!.MinimumScore.ShouldBe(0.9), g =>
            g!.MinimumHeldOut.ShouldBe(0.7));
        (await Registry.Versions("m", default)).Count.ShouldBe(3);
    }

    [Fact]
    public async Task A_policy_is_kept_in_versions_and_decides_over_the_rules_of_specs()
    {
        PolicyStore policies = _services.GetRequiredService<PolicyStore>();
        Caller.Current = new Caller("ada");
        await policies.Set("m", new PolicySpec { MinimumScore = 0.8 }, "a floor", default);
        await policies.Set("m", new PolicySpec { Automatic = "candidate" }, "by rule", default);
        await Complete("new");
        (await Registry.Resolve("m@4", default)).AwaitsAlias.ShouldBe("candidate", "the policy's rule, though the spec has none");
        await policies.Set("m", new PolicySpec { Approvals = 2 }, "four eyes", default);
        await using (ArmoFlowDbContext db = await Context())
        {
            (await Should.ThrowAsync<RegistryException>(() =>
                PolicyStore.RequireRoomForRule(db, Spec(new PromotionSpec { Automatic = "champion" }),
                    default))).Message.ShouldContain("wants 2 people");
        }
        await policies.Remove("m", "no longer", default);
        (await policies.Current("m", default)).ShouldBeNull();
        (await policies.History("m", default)).Select(p =>
            (p.Version, p.Policy is null, p.Reason, p.SetBy)).ShouldBe([(4, true, "no longer", "ada"), (3, false, "four eyes", "ada"),
            (2, false, "by rule", "ada"), (1, false, "a floor", "ada")]);
        (await Should.ThrowAsync<RegistryException>(() =>
            policies.Set("m", new PolicySpec(), " ", default))).Message.ShouldContain("for a reason");
        await Should.ThrowAsync<RegistryException>(() => policies.Remove("m", "again", default));
        AuditPage trail = await _services.GetRequiredService<AuditStore>().Query("action IN ('model.policy-set', 'model.policy-removed')",
            null, 10, default);
        trail.Events.Select(e => e.Action).ShouldBe(["model.policy-removed", "model.policy-set", "model.policy-set", "model.policy-set"]);
    }

    [Fact]
    public async Task A_backbone_is_found_where_it_is_said_to_lie_if_its_bytes_are_those()
    {
        BackboneStore backbones = _services.GetRequiredService<BackboneStore>();
        string moved = Directory.CreateDirectory(Path.Combine(_folder, "moved")).FullName, gone = Path.Combine(_folder, "gone");
        (await Should.ThrowAsync<RegistryException>(() =>
            backbones.Place("m@1", "digest", moved, default))).Message.ShouldContain("no backbone there");
        await File.WriteAllTextAsync(Path.Combine(moved, "config.json"), "{}", TestContext.Current.CancellationToken);
        string found = (await Should.ThrowAsync<RegistryException>(() =>
            backbones.Place("m@1", new string('0', 64), moved, default))).Message;
        found.ShouldContain("expected 0000000000000000");
        string digest = BackboneStore.DigestOf(moved);
        await backbones.Place("m@1", digest, moved, default);
        (await backbones.Locate(gone, digest, default)).ShouldBe(moved);
        (await backbones.Locate(gone, "another", default)).ShouldBe(gone);
        (await backbones.Locate(moved, "whatever", default)).ShouldBe(moved, "what is there is not looked for elsewhere");
        (await _services.GetRequiredService<AuditStore>().Query("action = 'backbone.placed'", null, 10,
            default)).Events.ShouldHaveSingleItem();
    }

    private static RunSpec Spec(PromotionSpec? gates) =>
        new() { Name = "m", Folder = "/", Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [], Promotion = gates };

    [Fact]
    public async Task The_time_of_a_promotion_is_asked_for_once_nobody_else_decides()
    {
        ModelVersion version = await Registry.Resolve("m@1", default);
        List<bool> held = [];
        _time.Asked = () => held.Add(IsWriteLocked());
        await Registry.MoveAlias(version, "champion", null, Array.Empty<object>(), "model.promoted", default);
        _time.Asked = null;
        held.ShouldNotBeEmpty();
        held.ShouldAllBe(isLocked => isLocked,
            "who waits for the lock asks after the wait, or would enter a time before the one who held it");
    }

    [Fact]
    public async Task A_clock_that_steps_back_makes_no_period_that_ends_before_it_begins()
    {
        DateTimeOffset start = _time.GetUtcNow();
        _time.Advance(TimeSpan.FromDays(2));
        await Point(1, "ahead");
        _time.AdjustTime(start);
        AliasPeriod second = await Point(2, "mended");
        second.ValidFrom.ShouldBe(start.AddDays(2), "not before the decision that it replaces");
        foreach (AliasPeriod period in await Registry.History("m", default))
        {
            (period.ValidUntil is null || period.ValidUntil >= period.ValidFrom).ShouldBeTrue();
            (period.KnownUntil is null || period.KnownUntil >= period.KnownFrom).ShouldBeTrue();
        }
        (await Registry.Resolve("m@champion", default)).Version.ShouldBe(2, "what it means now does not hang on a clock");
        (await Version(start.AddDays(2))).ShouldBeNull("as it was known at a time before both");
        (await Registry.At("m", "champion", start.AddDays(2), start.AddDays(3), default))!.Version.ShouldBe(2);
        (await Registry.RollBack("m", "champion", "again", default)).Version.ShouldBe(1);
    }

    private bool IsWriteLocked()
    {
        using SqliteConnection other = new($"Data Source={Path.Combine(_folder, "armoflow.db")};Default Timeout=1;Pooling=False");
        other.Open();
        using SqliteCommand begin = other.CreateCommand();
        begin.CommandText = "begin immediate";
        begin.CommandTimeout = 1;
        try { begin.ExecuteNonQuery(); }
        catch (SqliteException e) when (e.SqliteErrorCode == 5) { return true; }
        return false;
    }

    /// <summary>A clock that the test turns, and that says when it is asked.</summary>
    private sealed class AskedTime(DateTimeOffset start) : FakeTimeProvider(start)
    {
        public Action? Asked { get; set; }

        public override DateTimeOffset GetUtcNow()
        {
            Asked?.Invoke();
            return base.GetUtcNow();
        }
    }

    private async Task<int?> Version(DateTimeOffset at) => (await Registry.At("m", "champion", at, null, default))?.Version;

    private async Task<AliasPeriod> Point(int version, string? reason) =>
        await Registry.MoveAlias(await Registry.Resolve($"m@{version}", default), "champion", reason, Array.Empty<object>(),
            "model.promoted", default);

    private async Task Complete(string weights, PromotionSpec? gates = null)
    {
        await using ArmoFlowDbContext db = await Context();
        RunState run = new() { CorrelationId = Guid.NewGuid(), Name = "m", Spec = Spec(gates) };
        foreach (string name in new[]
        {
            ArtifactNames.Regression,
            ArtifactNames.Decorrelation,
            ArtifactNames.Gating,
            ArtifactNames.FeaturesReport
        })
            run.Artifacts[name] = new ArtifactRef(weights + name, 1);
        await ModelRegistry.Enter(db, run, _time.GetUtcNow(), default);
        await db.SaveChangesAsync();
    }

    private async Task<ArmoFlowDbContext> Context() =>
        await _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();
}
