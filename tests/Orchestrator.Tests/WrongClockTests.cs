using System.Text;
using ArmoFlow.Contracts.Schedules;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Datasets;
using ArmoFlow.Orchestrator.Retention;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Schedules;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>A clock that was a year ahead for a while, and what it left in the database.</summary>
public sealed class WrongClockTests : ClockedDatabase
{
    private static readonly TimeSpan Year = TimeSpan.FromDays(365);
    private DateTimeOffset _right;

    [Fact]
    public async Task A_schedule_that_fired_a_year_ahead_fires_again_and_says_what_it_does_not_count()
    {
        ScheduleService schedules = Services.GetRequiredService<ScheduleService>();
        ScheduleRunner runner = Services.GetRequiredService<ScheduleRunner>();
        await schedules.Put(new Schedule { Name = "nightly", Cron = "0 2 * * *", Spec = Spec() }, default);
        await Ahead(async () =>
        {
            await runner.Fire("nightly", default);
            await End();
        });
        Time.Advance(TimeSpan.FromDays(1));
        await runner.Fire("nightly", default);
        await runner.Fire("nightly", default);
        IReadOnlyList<Firing> firings = await schedules.History("nightly", 10, default);
        firings.Count.ShouldBe(2, "one ahead, one in time");
        firings[1].DueAt.ShouldBe(new DateTimeOffset(2026, 11, 2, 2, 0, 0, TimeSpan.Zero));
        firings[1].Outcome.ShouldBe(FiringOutcome.Submitted);
        firings[1].Detail!.ShouldContain("2027-11-01 02:00:00Z, which has not come, is not counted: the clock was ahead");
    }

    [Fact]
    public async Task A_schedule_that_was_added_a_year_ahead_is_active_from_now_on()
    {
        ScheduleService schedules = Services.GetRequiredService<ScheduleService>();
        ScheduleRunner runner = Services.GetRequiredService<ScheduleRunner>();
        await Ahead(() => schedules.Put(new Schedule { Name = "nightly", Cron = "0 2 * * *", Spec = Spec() }, default));
        await runner.Fire("nightly", default);
        (await schedules.History("nightly", 10, default)).ShouldBeEmpty("it is mended, and not due");
        Time.Advance(TimeSpan.FromDays(1));
        await runner.Fire("nightly", default);
        (await schedules.History("nightly", 10, default)).ShouldHaveSingleItem().Outcome.ShouldBe(FiringOutcome.Submitted);
        (await Events("clock.mended")).ShouldBe(1);
    }

    [Fact]
    public async Task A_collection_a_year_ahead_and_a_policy_set_then_hold_up_none()
    {
        RetentionPolicyService policies = Services.GetRequiredService<RetentionPolicyService>();
        await policies.Put(new RetentionRules(TimeSpan.FromDays(30), 5), "0 3 * * *", "UTC", default);
        await Ahead(Collect);
        Time.Advance(TimeSpan.FromDays(1));
        await Collect();
        (await policies.Get(default)).LastAt.ShouldBe(Time.GetUtcNow());
        await Ahead(() => policies.Put(new RetentionRules(TimeSpan.FromDays(30), 5), "0 3 * * *", "UTC", default));
        await Collect();
        (await Events("clock.mended")).ShouldBe(1);
        Time.Advance(TimeSpan.FromDays(1));
        await Collect();
        (await policies.Get(default)).LastAt.ShouldBe(Time.GetUtcNow());
    }

    [Fact]
    public async Task A_policy_that_ran_a_year_ahead_runs_again_and_files_of_then_count_as_there()
    {
        PolicyRunner runner = Services.GetRequiredService<PolicyRunner>();
        await Arrive("first.jsonl");
        RunSpec spec = Spec() with
        {
            Ratings = [new SourceSpec { Name = "judge", Files = ["dataset:judge"], Format = "armorm-ratings", MaxDroppedShare = 0 }],
            Retrain = new RetrainSpec { AtMostEveryHours = 6, DebounceSeconds = 60 },
        };
        await Services.GetRequiredService<PolicyService>().Put("retrain", spec, default);
        await Ahead(async () =>
        {
            await Arrive("ahead.jsonl");
            Time.Advance(TimeSpan.FromMinutes(2));
            await runner.Look(default);
            await End();
            await Arrive("late.jsonl");
        });
        await runner.Look(default);
        await using ArmoFlowDbContext db = await Context();
        (await db.Runs.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(2);
    }

    [Fact]
    public async Task An_alert_that_was_to_be_posted_again_a_year_ahead_is_due()
    {
        const string webhook = "https://hooks.example.com/S3cret";
        AlertStore alerts = Services.GetRequiredService<AlertStore>();
        Guid run = await Submit();
        await Ahead(async () =>
        {
            await using ArmoFlowDbContext db = await Context();
            DateTimeOffset now = Time.GetUtcNow();
            db.Alerts.Add(new Alert { RunId = run, Model = "m", Version = 1, Webhook = webhook, RaisedAt = now, NextAttemptAt = now });
            await db.SaveChangesAsync();
            await alerts.Settle((await alerts.TakeDue(webhook, default)).ShouldNotBeNull(), "answered 500", default);
        });
        (await alerts.DueWebhooks(default)).ShouldBe([webhook]);
        Alert due = (await alerts.TakeDue(webhook, default)).ShouldNotBeNull();
        await alerts.Settle(due, "answered 500", default);
        Alert after = (await alerts.Alerts("m", 1, default)).Single();
        (after.RaisedAt, after.NextAttemptAt).ShouldBe((Time.GetUtcNow(), Time.GetUtcNow().AddSeconds(10)));
        after.Webhook.ShouldBe("https://hooks.example.com/***", "the rest of the address is a secret");
        (await alerts.TakeDue(webhook, default)).ShouldBeNull("it waits for its time again");
    }

    [Fact]
    public async Task A_file_from_a_machine_whose_clock_is_ahead_is_taken_once_it_looks_the_same_twice()
    {
        DatasetWatcher watcher = Services.GetRequiredService<DatasetWatcher>();
        string folder = Directory.CreateDirectory(Path.Combine(Folder, "arrivals")).FullName, file = Path.Combine(folder, "a.jsonl");
        await watcher.Watch("judge", folder, default);
        File.WriteAllText(file, "{}\n");
        File.SetLastWriteTimeUtc(file, (Time.GetUtcNow() + Year).UtcDateTime);
        await watcher.Look(default);
        File.AppendAllText(file, "{}\n");
        File.SetLastWriteTimeUtc(file, (Time.GetUtcNow() + Year).UtcDateTime);
        await watcher.Look(default);
        (await Services.GetRequiredService<DatasetStore>().Files("judge", null, default)).ShouldBeEmpty("it was still being written");
        await watcher.Look(default);
        (await Services.GetRequiredService<DatasetStore>().Files("judge", null, default)).ShouldHaveSingleItem().Rows.ShouldBe(2);
    }

    /// <summary>Does something while the clock is a year ahead.</summary>
    private async Task Ahead(Func<Task> work)
    {
        _right = Time.GetUtcNow();
        Time.AdjustTime(_right + Year);
        await work();
        Time.AdjustTime(_right);
    }

    private Task Collect() =>
        new CollectionEngine(Services.GetRequiredService<RetentionPolicyStore>(), Services.GetRequiredService<Collector>(),
            Time, NullLogger<CollectionEngine>.Instance).Look(default);

    private async Task Arrive(string name)
    {
        using MemoryStream stream = new(Encoding.UTF8.GetBytes($"{{\"file\":\"{name}\"}}\n"));
        await Services.GetRequiredService<DatasetStore>().Add("judge", name, stream, default);
    }

    private async Task<Guid> Submit()
    {
        RunState run = new() { CorrelationId = Guid.NewGuid() };
        run.Open(Spec(), Time.GetUtcNow());
        await using ArmoFlowDbContext db = await Context();
        db.Runs.Add(run);
        await db.SaveChangesAsync();
        return run.CorrelationId;
    }

    private async Task<int> Events(string action) =>
        (await Services.GetRequiredService<AuditStore>().Query($"action = '{action}'", null, 10, default)).Events.Count;

    private static RunSpec Spec() =>
        new() { Name = "name", Folder = "/", Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [] };
}
