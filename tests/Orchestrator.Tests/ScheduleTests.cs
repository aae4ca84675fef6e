using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Schedules;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Schedules;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>Schedules by a clock that the tests turn: what is due, once, by the rules that it was added with.</summary>
public sealed class ScheduleTests : ClockedDatabase
{
    private ScheduleService Schedules => Services.GetRequiredService<ScheduleService>();
    private ScheduleRunner Runner => Services.GetRequiredService<ScheduleRunner>();

    [Theory]
    // Clocks go forward on 29 March 2026, 02:00 → 03:00: half past two does not come, and fires at the end of the gap.
    [InlineData("30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z")]
    // Clocks go back on 25 October 2026, 03:00 → 02:00: half past two comes twice, and fires the first time.
    [InlineData("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z")]
    // Nine o'clock stays nine o'clock.
    [InlineData("0 9 * * *", "2026-10-24T12:00:00Z", "2026-10-25T08:00:00Z", "2026-10-26T08:00:00Z")]
    [InlineData("0 9 * * *", "2026-03-28T12:00:00Z", "2026-03-29T07:00:00Z", "2026-03-30T07:00:00Z")]
    public void Firings_keep_to_the_clock_on_the_wall(string cron, string from, string first, string second) =>
        new ScheduleTimes(cron, "Europe/Zurich")
            .After(DateTimeOffset.Parse(from, null), 2)
            .ShouldBe([DateTimeOffset.Parse(first, null), DateTimeOffset.Parse(second, null)]);

    [Fact]
    public void Half_hours_go_on_through_the_hour_that_comes_twice() =>
        new ScheduleTimes("*/30 * * * *", "Europe/Zurich")
            .After(DateTimeOffset.Parse("2026-10-25T00:00:00Z", null), 4)
            .ShouldBe([.. Enumerable.Range(1, 4).Select(i => DateTimeOffset.Parse("2026-10-25T00:00:00Z", null).AddMinutes(30 * i))]);

    [Fact]
    public async Task A_period_is_fired_once_however_often_and_by_however_many_it_is_asked_for()
    {
        await Add("0 2 * * *");
        await Runner.Fire("nightly", default);
        (await Firings()).ShouldBeEmpty("not due yet");
        for (int day = 1; day <= 3; day++)
        {
            Time.Advance(TimeSpan.FromDays(1));
            await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() => Runner.Fire("nightly", default))));
            await End();
        }
        IReadOnlyList<Firing> firings = await Firings();
        firings.Select(f => f.Outcome).ShouldBe([FiringOutcome.Submitted, FiringOutcome.Submitted, FiringOutcome.Submitted]);
        firings[0].DueAt.ShouldBe(new DateTimeOffset(2026, 11, 4, 2, 0, 0, TimeSpan.Zero));
        await using ArmoFlowDbContext db = await Context();
        List<RunState> runs = await db.Runs.AsNoTracking().ToListAsync(TestContext.Current.CancellationToken);
        runs.Select(r => r.CorrelationId).ShouldBe(firings.Select(f => f.RunId!.Value), ignoreOrder: true);
        runs.ShouldAllBe(r => r.Trigger!.StartsWith("schedule nightly, due 2026-11-0"));
        (await db.OutboxMessages.CountAsync(m => m.MessageType.Contains("SubmitRun"), TestContext.Current.CancellationToken)).ShouldBe(3);
        (await Services.GetRequiredService<AuditStore>().Query("action = 'schedule.fired'", null, 10, default)).Events.Count.ShouldBe(3);
    }

    [Theory]
    [InlineData(Misfire.Once, FiringOutcome.Submitted)]
    [InlineData(Misfire.Skip, FiringOutcome.Missed)]
    public async Task Periods_that_passed_while_no_server_ran_go_by_their_rule(Misfire rule, FiringOutcome outcome)
    {
        await Add("0 2 * * *", misfire: rule);
        Time.Advance(TimeSpan.FromDays(5.5));
        await Runner.Fire("nightly", default);
        await Runner.Fire("nightly", default);
        Firing firing = (await Firings()).Single();
        firing.Outcome.ShouldBe(outcome);
        firing.Detail.ShouldBe("one firing for 6 periods");
        await End();
        Time.Advance(TimeSpan.FromHours(13.5)); // the next one was half an hour ago
        await Runner.Fire("nightly", default);
        (await Firings()).Count.ShouldBe(2);
    }

    [Fact]
    public async Task A_firing_whose_spec_cannot_be_run_says_why_and_the_next_is_tried_again()
    {
        await Schedules.Put(new Schedule
        {
            Name = "nightly",
            Cron = "0 2 * * *",
            Spec = new RunSpec
            {
                Name = "e",
                Folder = "/",
                Model = "gone@champion",
                Backbone = BackboneSpec.OfModel,
                Ratings = [],
                Preferences = []
            }
        }, default);
        for (int day = 1; day <= 2; day++)
        {
            Time.Advance(TimeSpan.FromDays(1));
            await Runner.Fire("nightly", default);
        }
        IReadOnlyList<Firing> firings = await Firings();
        firings.Select(f => (f.Outcome, f.RunId)).ShouldBe([(FiringOutcome.Skipped, null), (FiringOutcome.Skipped, null)]);
        firings[0].Detail!.ShouldContain("no model 'gone'");
    }

    [Fact]
    public async Task While_a_run_is_in_progress_a_firing_is_skipped_or_waits_or_cancels_it()
    {
        await Add("0 * * * *", overlap: Overlap.Skip);
        await Hours(2);
        (await Firings()).Select(f => f.Outcome).ShouldBe([FiringOutcome.Skipped, FiringOutcome.Submitted]);

        await Add("0 * * * *", overlap: Overlap.Queue);
        await Hours(2);
        (await Firings()).Select(f => f.Outcome).Take(2).ShouldBe([FiringOutcome.Skipped, FiringOutcome.Queued]);
        Guid first = (await Firings())[^1].RunId!.Value;
        await End();
        await Task.WhenAll(Runner.Release(first, default), Runner.Release(first, default));
        Firing released = (await Firings()).Single(f => f.Outcome == FiringOutcome.Submitted && f.RunId != first);
        await using (ArmoFlowDbContext db = await Context()) (await db.Runs.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(2);

        await Add("0 * * * *", overlap: Overlap.Cancel);
        await Hours(1);
        await using (ArmoFlowDbContext db = await Context())
        {
            (await db.OutboxMessages.CountAsync(m => m.Body.Contains(released.RunId.ToString()!) && m.MessageType.Contains("CancelRun"),
                TestContext.Current.CancellationToken)).ShouldBe(1);
        }
        (await Firings())[0].Outcome.ShouldBe(FiringOutcome.Submitted);
    }

    [Fact]
    public async Task A_firing_that_waits_goes_with_its_schedule()
    {
        await Add("0 * * * *", overlap: Overlap.Queue);
        await Hours(2);
        Guid first = (await Firings())[^1].RunId!.Value;
        await Schedules.Remove("nightly", default);
        await End();
        await Runner.Release(first, default);
        (await Firings())[0].ShouldSatisfyAllConditions(f => f.Outcome.ShouldBe(FiringOutcome.Skipped),
            f => f.Detail.ShouldBe("the schedule was removed while it waited"));
    }

    [Fact]
    public async Task A_pause_is_not_made_up_for()
    {
        await Add("0 * * * *");
        (await Schedules.Pause("nightly", default)).Next.ShouldBeEmpty();
        await Hours(3);
        (await Firings()).ShouldBeEmpty();
        ScheduleDocument resumed = await Schedules.Resume("nightly", default);
        resumed.Next.Count.ShouldBe(5);
        await Runner.Fire("nightly", default);
        (await Firings()).ShouldBeEmpty();
        await Hours(1);
        (await Firings()).Count.ShouldBe(1);
    }

    [Fact]
    public async Task Jitter_is_the_same_for_everybody_and_keeps_within_its_bound()
    {
        await Add("0 * * * *", jitter: 600);
        Time.Advance(TimeSpan.FromHours(1));
        int minutes = 0;
        for (; (await Firings()).Count == 0 && minutes < 30; minutes++)
        {
            await Runner.Fire("nightly", default);
            Time.Advance(TimeSpan.FromMinutes(1));
        }
        minutes.ShouldBeInRange(1, 12);
        (await Firings()).Single().DueAt.Minute.ShouldBe(0);
    }

    [Fact]
    public async Task What_is_asked_for_by_hand_takes_no_period_s_place()
    {
        await Add("0 * * * *", overlap: Overlap.Cancel, jitter: 600);
        Time.Advance(TimeSpan.FromHours(1));
        // while the period waits for its jitter
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => Runner.RunNow("nightly", default))));
        await End();
        Time.Advance(TimeSpan.FromMinutes(11));
        await Runner.Fire("nightly", default);
        IReadOnlyList<Firing> firings = await Firings();
        firings.Count(f => f.IsByHand).ShouldBe(4);
        firings.Single(f => !f.IsByHand)
            .ShouldSatisfyAllConditions(f => f.DueAt.Minute.ShouldBe(0), f => f.Outcome.ShouldBe(FiringOutcome.Submitted));
    }

    [Fact]
    public async Task A_firing_that_began_to_wait_as_the_run_before_it_ended_is_found_at_the_next_look()
    {
        await Add("0 * * * *", overlap: Overlap.Queue);
        await Hours(2);
        await Runner.Fire("nightly", default);
        (await Firings())[0].Outcome.ShouldBe(FiringOutcome.Queued, "the run before it is in progress");
        await End(); // and nobody tells
        await Runner.Fire("nightly", default);
        (await Firings())[0].ShouldSatisfyAllConditions(f => f.Outcome.ShouldBe(FiringOutcome.Submitted), f => f.RunId.ShouldNotBeNull());
    }

    [Fact]
    public async Task What_cannot_be_is_refused_in_words()
    {
        (await Should.ThrowAsync<ScheduleException>(() => Add("61 * * * *"))).Message.ShouldContain("cron '61 * * * *'");
        (await Should.ThrowAsync<ScheduleException>(() => Add("0 2 30 2 *"))).Message.ShouldContain("never due");
        (await Should.ThrowAsync<ScheduleException>(() => Add("0 2 * * *", zone: "Europe/Zürich"))).Message.ShouldContain("IANA");
        (await Should.ThrowAsync<ScheduleException>(() => Add("0 2 * * *", jitter: -1))).Message.ShouldContain("jitter");
        (await Should.ThrowAsync<ScheduleException>(() => Schedules.Pause("no", default))).Message.ShouldContain("no schedule 'no'");
        (await Should.ThrowAsync<ScheduleException>(() => Runner.RunNow("no", default))).Message.ShouldContain("no schedule 'no'");
    }

    private async Task Hours(int count)
    {
        for (int i = 0; i < count; i++)
        {
            Time.Advance(TimeSpan.FromHours(1));
            await Runner.Fire("nightly", default);
        }
    }

    private Task<ScheduleDocument> Add(string cron, Misfire misfire = Misfire.Once, Overlap overlap = Overlap.Skip, double jitter = 0,
        string zone = "UTC") => Schedules.Put(new Schedule
        {
            Name = "nightly",
            Cron = cron,
            TimeZone = zone,
            Misfire = misfire,
            Overlap = overlap,
            JitterSeconds = jitter,
            Spec = new RunSpec { Name = "name", Folder = "/", Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [] },
        }, default);

    private Task<IReadOnlyList<Firing>> Firings() => Schedules.History("nightly", 100, default);
}
