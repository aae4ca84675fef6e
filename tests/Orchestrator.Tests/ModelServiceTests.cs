using System.Text.Json;
using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>What a model's policy asks counts whatever a spec says, and what cannot be scored with is not promoted.</summary>
public sealed class ModelServiceTests : IAsyncLifetime
{
    private static readonly Caller Operator = new("key olga") { Scope = Scope.Operator },
        Other = new("key otto") { Scope = Scope.Operator }, Admin = new("key ada") { Scope = Scope.Admin };
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-service-").FullName;
    private ServiceProvider _services = null!;

    private ModelService Service => _services.GetRequiredService<ModelService>();
    private PolicyStore Policies => _services.GetRequiredService<PolicyStore>();
    private ArtifactStore Store => _services.GetRequiredService<ArtifactStore>();

    public async ValueTask InitializeAsync()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        _services = new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).AddRunQueries().BuildServiceProvider();
        await using ArmoFlowDbContext db = await Context();
        await db.Database.MigrateAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_spec_without_gates_goes_past_neither_the_gates_nor_the_approvals_of_the_policy()
    {
        await Complete("bad", score: 0.5);
        await Complete("good", score: 0.9);
        await Policies.Set("m", new PolicySpec { MinimumScore = 0.8, Approvals = 2 }, "production", default);
        Caller.Current = Operator;
        (await Service.Promote("m@1", "champion", false, "it looks fine", default))
            .ShouldSatisfyAllConditions(p => p.Promoted.ShouldBeFalse(), p => p.Verdicts.Single().Gate.ShouldBe("minimumScore"));
        RegistryException refused = await Should.ThrowAsync<RegistryException>(() =>
            Service.Promote("m@1", "champion", force: true, "it must go out", default));
        (refused.Refusal, refused.Message.Contains("scope Admin", StringComparison.Ordinal)).ShouldBe((Refusal.Forbidden, true));
        (await Service.Promote("m@2", "champion", false, null, default)).ShouldSatisfyAllConditions(p => p.Promoted.ShouldBeFalse(), p =>
            p.Waiting.ShouldBe(["key olga"]));
        (await Service.Promote("m@2", "champion", false, null, default)).Promoted.ShouldBeFalse("the same person twice is one person");
        Caller.Current = Other;
        (await Service.Promote("m@2", "champion", false, null, default)).Promoted.ShouldBeTrue();
        Caller.Current = Admin;
        (await Service.Promote("m@1", "champion", force: true, "an exception", default)).ShouldSatisfyAllConditions(p =>
            p.Promoted.ShouldBeFalse("force does not go past approvals"), p => p.Waiting.ShouldBe(["key ada"]));
    }

    [Fact]
    public async Task A_spec_may_be_stricter_than_the_policy_and_its_own_gates_are_forced_as_before()
    {
        await Complete("strict", score: 0.85, gates: new PromotionSpec { MinimumScore = 0.9 });
        await Policies.Set("m", new PolicySpec { MinimumScore = 0.8 }, "production", default);
        Caller.Current = Operator;
        Promotion judged = await Service.Promote("m@1", "champion", false, null, default);
        (judged.Promoted, judged.Verdicts.Single().Bound).ShouldBe((false, 0.9));
        (await Service.Promote("m@1", "champion", force: true, "the policy's gate holds", default))
            .ShouldSatisfyAllConditions(p => p.Promoted.ShouldBeTrue(), p => p.Forced.ShouldBeTrue());
    }

    [Fact]
    public async Task Only_those_whom_the_policy_names_promote_and_an_administrator_by_force()
    {
        await Complete("one", score: 0.9);
        await Policies.Set("m", new PolicySpec { Promoters = ["otto"] }, "production", default);
        Caller.Current = Operator;
        (await Should.ThrowAsync<RegistryException>(() =>
            Service.Promote("m@1", "champion", false, null, default))).Refusal.ShouldBe(Refusal.Forbidden);
        (await Should.ThrowAsync<RegistryException>(() =>
            Service.Promote("m@1", "champion", true, "now", default))).Refusal.ShouldBe(Refusal.Forbidden);
        Caller.Current = Admin;
        await Should.ThrowAsync<RegistryException>(() => Service.Promote("m@1", "champion", false, null, default));
        (await Service.Promote("m@1", "candidate", true, "an exception", default)).Promoted.ShouldBeTrue();
        Caller.Current = Other;
        (await Service.Promote("m@1", "champion", false, null, default)).Promoted.ShouldBeTrue();
    }

    [Fact]
    public async Task A_policy_that_is_set_later_holds_back_the_rule_of_a_spec_and_somebody_is_told()
    {
        await Complete("one", score: 0.9, gates: new PromotionSpec { Automatic = "champion" });
        await Policies.Set("m", new PolicySpec { Approvals = 2 }, "production", default);
        await _services.GetRequiredService<PromotionRules>().ApplyPending(default);
        (await _services.GetRequiredService<ModelRegistry>().History("m", default)).ShouldBeEmpty();
        (await _services.GetRequiredService<Persistence.Alerts.AlertStore>().Alerts("m", 10,
            default)).Single().Text.ShouldContain("policy wants people");
    }

    [Fact]
    public async Task A_version_whose_gate_found_no_signal_is_promoted_by_nobody_but_by_force()
    {
        const string Missing = "the gate found no signal: it learnt nothing.";
        await Complete("nothing", score: 0.9, gates: new PromotionSpec { Automatic = "champion", MinimumScore = 0.1 }, noSignal: Missing);
        await _services.GetRequiredService<PromotionRules>().ApplyPending(default);
        Persistence.Alerts.AlertStore alerts = _services.GetRequiredService<Persistence.Alerts.AlertStore>();
        (await alerts.Alerts("m", 10, default)).Single().Text.ShouldContain(Missing);
        await Complete("bare", score: 0.9, noSignal: Missing);
        await Complete("old", score: 0.9, metrics: """{"decorrelation":{"verbosity":"v"},"gating":{"health":{"saturated":["v"]}}}""");
        Caller.Current = Operator;
        foreach (string version in new[] { "m@1", "m@2", "m@3" })
        {
            Promotion refused = await Service.Promote(version, "champion", false, "it looks fine", default);
            (refused.Promoted, refused.Verdicts.Single(v => !v.Holds).Gate).ShouldBe((false, PromotionGates.Signal), version);
        }
        (await Service.Versions("m", default)).ShouldAllBe(v => v.NoSignal!.StartsWith("the gate found no signal: "));
        (await Service.Promote("m@2", "champion", force: true, "to try the rest of the way", default)).Forced.ShouldBeTrue();
        AuditStore audit = _services.GetRequiredService<AuditStore>();
        IReadOnlyList<AuditEventDocument> events = (await audit.Query("subject = 'model/m'", null, 50, default)).Events;
        events.Count(e => e.Action == "model.refused").ShouldBe(4, "the rule's refusal, and three of people");
        events.Count(e => e.Action == "model.forced").ShouldBe(1);
    }

    [Fact]
    public async Task A_version_whose_parts_or_backbone_are_gone_is_shown_as_such_and_not_promoted()
    {
        RunState run = await Complete("one", score: 0.9);
        (await Service.Versions("m", default)).Single().Usable.ShouldBeTrue();
        string gating = run.Artifacts[ArtifactNames.Gating].Sha256, regression = run.Artifacts[ArtifactNames.Regression].Sha256;

        await File.AppendAllTextAsync(Store.LocationOf(regression), "altered", TestContext.Current.CancellationToken);
        (await Should.ThrowAsync<RegistryException>(() =>
            Service.Promote("m@1", "champion", true, "by force too",
                default))).Message.ShouldContain("its regression is not in the store, or was altered there");

        await Store.Delete(gating, default);
        await using (ArmoFlowDbContext db = await Context())
        {
            db.Tombstones.Add(new Tombstone
            {
                Sha256 = gating,
                Why = "of an old run",
                At = new DateTimeOffset(2026, 6, 1, 0, 0, 0, TimeSpan.Zero),
                RemovedAt = DateTimeOffset.UtcNow
            });
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        VersionDocument shown = (await Service.Versions("m", default)).Single();
        (shown.Usable, shown.Missing!.Any(m =>
            m.Contains("its gating was removed on 2026-06-01 (of an old run)", StringComparison.Ordinal)
            && m.Contains("Run the spec", StringComparison.Ordinal))).ShouldBe((false, true));

        await Complete("two", score: 0.9, backbone: "gone");
        (await Service.Versions("m", default))[0].Missing!.Single().ShouldContain("armoflow models backbone m@2 PATH");
        string moved = Directory.CreateDirectory(Path.Combine(_folder, "moved")).FullName;
        await File.WriteAllTextAsync(Path.Combine(moved, "config.json"), "other", TestContext.Current.CancellationToken);
        (await Should.ThrowAsync<RegistryException>(() => Service.PlaceBackbone("m@2", moved, default))).Message.ShouldContain("expected");
        await File.WriteAllTextAsync(Path.Combine(moved, "config.json"), "{}", TestContext.Current.CancellationToken);
        await Service.PlaceBackbone("m@2", moved, default);
        (await Service.Versions("m", default))[0].Usable.ShouldBeTrue();
        (await Service.Promote("m@2", "champion", false, null, default)).Promoted.ShouldBeTrue();
    }

    private async Task<RunState> Complete(string weights, double score, PromotionSpec? gates = null, string backbone = "backbone",
        string? noSignal = null, string? metrics = null)
    {
        string folder = Path.Combine(_folder, "backbone");
        Directory.CreateDirectory(folder);
        await File.WriteAllTextAsync(Path.Combine(folder, "config.json"), "{}");
        RunState run = new() { CorrelationId = Guid.NewGuid(), CurrentState = "Completed", EndedAt = DateTimeOffset.UtcNow };
        run.Open(new RunSpec
        {
            Name = "m",
            Folder = _folder,
            Backbone = new BackboneSpec(backbone),
            Ratings = [],
            Preferences = [],
            Promotion = gates
        }, DateTimeOffset.UtcNow);
        foreach (string part in ModelRegistry.Parts)
        {
            run.Artifacts[part] = await Store.PutText(part == ArtifactNames.FeaturesReport
                ? JsonSerializer.Serialize(Features(BackboneStore.DigestOf(folder), weights), JsonSerializerOptions.Web)
                : $"{part} {weights}");
        }
        JsonObject benchmark = new() { ["score"] = score }, gate = new() { ["heldOutAccuracy"] = 0.9, ["benchmark"] = benchmark };
        run.Record(StepNames.Evaluation, new JsonObject { ["scorers"] = new JsonObject { ["gate"] = gate } });
        if (noSignal is not null) run.Record(StepNames.Gating, new JsonObject { ["health"] = new JsonObject { ["noSignal"] = noSignal } });
        foreach ((string step, JsonNode? found) in metrics is null ? [] : JsonNode.Parse(metrics)!.AsObject())
            run.Record(step, found?.DeepClone());
        await using ArmoFlowDbContext db = await Context();
        db.Runs.Add(run);
        await ModelRegistry.Enter(db, run, DateTimeOffset.UtcNow, default);
        await db.SaveChangesAsync();
        return run;
    }

    private Task<ArmoFlowDbContext> Context() =>
        _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();

    private static FeaturesReport Features(string digest, string space) => new()
    {
        BackboneDigest = digest,
        Template = "llama-3",
        Dtype = "f32",
        MaxTokens = 512,
        Dimension = 8,
        Space = space,
        Conversations = 1,
        OverLimit = 0,
        OverLimitIds = [],
        RatingsLeftOut = 0,
        PreferencesLeftOut = 0,
        BenchmarkLeftOut = 0,
    };
}
