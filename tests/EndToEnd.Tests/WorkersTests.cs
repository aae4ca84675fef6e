using System.Diagnostics;
using System.Text.Json.Nodes;
using Shouldly;
using Xunit;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Workers in processes of their own that end, fall silent or are cancelled.</summary>
public class WorkersTests(FaultBench bench)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    [Fact]
    public async Task A_worker_that_is_asked_to_stop_gives_its_step_back_and_leaves()
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "asked_to_stop");
        Member[] members = await Task.WhenAll(cluster.Orchestrator(), cluster.WorkerApart());
        string run = await cluster.Submit(bench.Spec);
        await cluster.UntilState(run, "TrainingGating");
        await members[1].Process.Signal("TERM");
        (await members[1].Process.Exited(TimeSpan.FromSeconds(20))).ShouldBe(0, members[1].Said);
        (await cluster.Count("select count(*) from workers")).ShouldBe(0, "it has left");
        (await cluster.Count("select count(*) from inbox_state")).ShouldBeLessThan(30, "it did not pass its work to itself");
        await cluster.Worker();
        RunTests.Artifacts(await cluster.Finished(run, Limit)).ShouldBe(bench.Embedded);
        (await cluster.Count($"select attempt from runs where correlation_id = '{run}'")).ShouldBe(6,
            "the step was handed on, not asked for again");
    }

    [Fact]
    public async Task A_worker_that_falls_silent_is_lost_within_a_minute_and_its_late_answer_changes_nothing()
    {
        await bench.Require();
        using SmallProject project = new(gatingSteps: 4_000); // long enough to be caught in the middle
        SortedDictionary<string, string> embedded = RunTests.Artifacts((await project.Run()).Json);
        await using Cluster cluster = await Cluster.Make(bench.Servers, "silent");
        Member[] members = await Task.WhenAll(cluster.Orchestrator(), cluster.WorkerApart());
        string run = await cluster.Submit(project.Spec);
        await cluster.UntilState(run, "TrainingGating");
        await Eventually(async () => await cluster.Count("select count(*) from work_leases where step = 'gating'") > 0);
        await members[1].Process.Signal("STOP");
        long start = Stopwatch.GetTimestamp();
        while (await cluster.Count("select count(*) from work_leases") > 0) await Task.Delay(500);
        Stopwatch.GetElapsedTime(start).ShouldBeLessThan(TimeSpan.FromSeconds(60));
        await Eventually(async () => await cluster.Count("select count(*) from workers") == 0);
        await Eventually(async () => JsonNode.Parse(await cluster.Get($"/api/v1/runs/{run}"))!["steps"]!.AsArray()
            .Single(s => s!["name"]!.GetValue<string>() == "gating") is { } step
            && step["status"]!.GetValue<string>() == "Lost"
            && step["detail"]!.GetValue<string>().Contains("no worker serves 'gating'", StringComparison.Ordinal));
        await Eventually(async () => (await ServersTests.Logs(cluster, run))
            .Any(l => l is { Step: "gating", Outcome: "Lost", Artifact: not null }));
        (await CommandLine.Succeed("runs", "logs", run, "--step", "gating", "--server", cluster.Url)).Output
            .ShouldContain("nothing more was heard of its worker");
        await cluster.Worker();
        await members[1].Process.Signal("CONT");
        JsonNode document = await cluster.Finished(run, Limit);
        RunTests.Artifacts(document).ShouldBe(embedded);
        (await cluster.Count("select count(*) from faults")).ShouldBe(0);
    }

    [Fact]
    public async Task Cancelling_during_feature_extraction_frees_the_workers()
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "cancelled");
        Member[] members = await Task.WhenAll(cluster.WorkerApart(), cluster.WorkerApart(), cluster.Orchestrator());
        string run = await cluster.Submit(bench.Spec);
        await cluster.UntilState(run, "ExtractingFeatures");
        Member[] workers = members[..2];
        await Eventually(async () => await cluster.Count("select count(*) from sharded_steps") > 0);
        await CommandLine.Succeed("runs", "cancel", run, "--server", cluster.Url);
        // Machines are shared: what counts is that they fall idle, long before the work would have been done.
        await Eventually(async () =>
        {
            TimeSpan before = CpuTime();
            await Task.Delay(TimeSpan.FromSeconds(1));
            return CpuTime() - before < TimeSpan.FromSeconds(0.3);
        });
        (await cluster.StateOf(run)).ShouldBe("Cancelled");
        await CommandLine.Succeed("runs", "retry", run, "--server", cluster.Url);
        RunTests.Artifacts(await cluster.Finished(run, Limit)).ShouldBe(bench.Embedded);

        TimeSpan CpuTime() => workers.Aggregate(TimeSpan.Zero, (sum, w) => sum + w.Process.CpuTime);
    }
}
