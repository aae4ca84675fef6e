using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Retention;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Schedules;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>Collections by a clock that the tests turn.</summary>
public sealed class RetentionPolicyTests : ClockedDatabase
{
    private RetentionPolicyService Policies => Services.GetRequiredService<RetentionPolicyService>();
    private ArtifactStore Artifacts => Services.GetRequiredService<ArtifactStore>();

    [Fact]
    public async Task When_theTime_comes_one_orchestrator_collects_by_the_rules_and_says_what_became_of_it()
    {
        string old = await Run(endedDaysAgo: 40), recent = await Run(endedDaysAgo: 10);
        (await Should.ThrowAsync<RetentionException>(() => Policies.Get(default))).Message.ShouldContain("gc schedule");
        RetentionPolicyDocument set = await Policies.Put(new RetentionRules(TimeSpan.FromDays(30), 5), "0 3 * * *", "UTC", default);
        set.Next[0].ShouldBe(new DateTimeOffset(2026, 11, 2, 3, 0, 0, TimeSpan.Zero));
        await Look();
        File.Exists(Artifacts.LocationOf(old)).ShouldBeTrue("it is not time yet");
        (await Policies.Get(default)).LastAt.ShouldBeNull();

        Time.Advance(TimeSpan.FromHours(26)); // a server that was down past the first time makes up for it once
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(Look)));
        File.Exists(Artifacts.LocationOf(old)).ShouldBeFalse();
        File.Exists(Artifacts.LocationOf(recent)).ShouldBeTrue();
        RetentionPolicyDocument after = await Policies.Get(default);
        (after.LastAt, after.LastOutcome).ShouldBe((Time.GetUtcNow(), "1 artifacts of 9 bytes removed"));
        await Look();
        (await Events("gc.collected")).ShouldBe(1);

        await Policies.Put(new RetentionRules(TimeSpan.FromDays(5), 5), "0 3 * * 0", "Europe/Zurich", default);
        await Policies.Remove(default);
        Time.Advance(TimeSpan.FromDays(30));
        await Look();
        File.Exists(Artifacts.LocationOf(recent)).ShouldBeTrue("nothing is scheduled any more");
        (await Events("gc.scheduled")).ShouldBe(2);
        (await Events("gc.unscheduled")).ShouldBe(1);
    }

    [Fact]
    public async Task What_is_noTime_is_refused()
    {
        (await Should.ThrowAsync<ScheduleException>(() => Policies.Put(new RetentionRules(TimeSpan.FromDays(30), 5), "at three", "UTC",
            default))).Message.ShouldContain("five fields");
        (await Should.ThrowAsync<ScheduleException>(() => Policies.Put(new RetentionRules(TimeSpan.FromDays(30), 5), "0 3 30 2 *", "UTC",
            default))).Message.ShouldContain("never due");
        (await Should.ThrowAsync<RetentionException>(() => Policies.Remove(default))).Message.ShouldContain("no collection is scheduled");
    }

    private Task Look() =>
        new CollectionEngine(Services.GetRequiredService<RetentionPolicyStore>(), Services.GetRequiredService<Collector>(),
            Time, NullLogger<CollectionEngine>.Instance).Look(default);

    private async Task<int> Events(string action) =>
        (await Services.GetRequiredService<AuditStore>().Query($"action = '{action}'", null, 10, default)).Events.Count;

    private async Task<string> Run(int endedDaysAgo)
    {
        ArtifactRef artifact = await Artifacts.PutText($"report {endedDaysAgo}");
        DateTimeOffset ended = Time.GetUtcNow().AddDays(-endedDaysAgo);
        RunState run = new()
        {
            CorrelationId = NewId.NextGuid(),
            CurrentState = "Completed",
            EndedAt = ended,
            Artifacts = { [ArtifactNames.Report] = artifact }
        };
        run.Open(new RunSpec { Name = "name", Folder = "/", Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [] },
            ended.AddHours(-1));
        await using ArmoFlowDbContext db = await Context();
        db.Runs.Add(run);
        await db.SaveChangesAsync();
        return artifact.Sha256;
    }
}
