using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ArmoFlow.Cli;
using ArmoFlow.Contracts;
using Npgsql;
using Shouldly;
using Xunit;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Orchestrator and workers as processes of their own on real servers, as their users see them.</summary>
[Collection(FaultBench.Collection)]
public class ServersTests(FaultBench bench)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    [Fact]
    public async Task Workers_of_some_steps_give_the_embedded_run_s_bytes_and_a_second_run_reuses_them()
    {
        bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "some_steps");
        await Task.WhenAll(cluster.Orchestrator(), cluster.Worker(more: ["--steps", "ingestion,features,evaluation"]),
            cluster.Worker(more: ["--steps", "regression", "decorrelation", "gating"]));
        JsonNode run = (await CommandLine.Succeed("run", bench.Spec, "--server", cluster.Url, "--json")).Json;
        run["status"]!.GetValue<string>().ShouldBe("Completed");
        RunTests.Artifacts(run).ShouldBe(bench.Embedded);
        RunTests.Reused((await CommandLine.Succeed("run", bench.Spec, "--server", cluster.Url, "--json")).Json)
            .ShouldBe(RunTests.Steps(run));
        JsonArray workers = (await CommandLine.Succeed("runs", "workers", "--server", cluster.Url, "--json")).Json.AsArray();
        workers.Select(w => w!["steps"]!.GetValue<string>())
            .ShouldBe(["ingestion,features,evaluation", "regression,decorrelation,gating"], ignoreOrder: true);
        (await CommandLine.Succeed("runs", "workers", "--server", cluster.Url)).Output.ShouldContain("regression,decorrelation,gating");
        (await CommandLine.Run("runs", "faults", "--server", cluster.Url)).Error.ShouldContain("no message was set aside");
        string id = run["runId"]!.GetValue<string>();
        await Eventually(async () => (await Logs(cluster, id)).Select(l => l.Step).Distinct().Count() == 6);
        (await Logs(cluster, id)).ShouldAllBe(l => l.Outcome == "Done" && l.Artifact != null);
        string text = (await CommandLine.Succeed("runs", "logs", id, "--step", "regression", "--server", cluster.Url)).Output;
        foreach (string part in new[] { "attempt 3", "step key", "made regression", "Done" }) text.ShouldContain(part);
    }

    [Fact]
    public async Task Messages_that_nobody_can_deal_with_are_set_aside_and_decided_by_hand()
    {
        bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "set_aside");
        await Task.WhenAll(cluster.Orchestrator(), cluster.Worker());
        await cluster.Put("runs",
            """
            {
              "messageId": "5f2c0000-0000-0000-0000-000000000001",
              "messageType": ["urn:message:ArmoFlow.Contracts.Runs:ForgetRun"],
              "message": { "runId": "5f2c0000-0000-0000-0000-000000000009" }
            }
            """);
        await cluster.Put("regression",
            """
            {
              "messageId": "5f2c0000-0000-0000-0000-000000000002",
              "messageType": ["urn:message:ArmoFlow.Contracts.Regression:FitRegression"],
              "message": { "runId": "no id" }
            }
            """);
        await cluster.Put("gating", "not even JSON");
        await Eventually(async () => (await Groups()).Sum(g => g!["open"]!.GetValue<int>()) == 3);
        (await Groups()).Select(g => g!["queue"]!.GetValue<string>()).ShouldBe(["runs", "regression", "gating"], ignoreOrder: true);
        (await CommandLine.Succeed("runs", "faults", "--server", cluster.Url)).Output.ShouldContain("ForgetRun");
        string unknown = (await Groups()).Single(g => g!["queue"]!.GetValue<string>() == "runs")!["fingerprint"]!.GetValue<string>();
        string shown = (await CommandLine.Succeed("runs", "faults", "show", unknown, "--server", cluster.Url)).Output;
        foreach (string part in new[] { "no consumer of this version", "5f2c0000-0000-0000-0000-000000000009" }) shown.ShouldContain(part);

        // Sent again it comes back: set aside anew, never in a loop.
        (await CommandLine.Succeed("runs", "faults", "redeliver", unknown, "--server", cluster.Url)).Error.ShouldContain("1 redelivered");
        await Eventually(async () => (await Groups()).Single(g => g!["fingerprint"]!.GetValue<string>() == unknown) is { } g
            && g["open"]!.GetValue<int>() == 1
            && g["redelivered"]!.GetValue<int>() == 1);
        (await CommandLine.Succeed("runs", "faults", "archive", "all", "--server", cluster.Url)).Error.ShouldContain("3 archived");
        (await cluster.Count("select count(*) from faults where status = 'Archived' and decided_by is not null")).ShouldBe(3);
        await CommandLine.Refused(["runs", "faults", "redeliver", unknown, "--server", cluster.Url], "no open fault");
        RunTests.Artifacts((await CommandLine.Succeed("run", bench.Spec, "--server", cluster.Url, "--json")).Json).ShouldBe(bench.Embedded);

        async Task<JsonArray> Groups() => JsonNode.Parse(await cluster.Get("/api/v1/faults"))!.AsArray();
    }

    [Fact]
    public async Task Two_orchestrators_fire_each_of_a_thousand_periods_once_also_when_one_is_killed_while_it_fires()
    {
        bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "clocks");
        await cluster.Orchestrator();
        Member second = await cluster.Orchestrator($"http://127.0.0.1:{FreePorts.Next()}", "second");
        // No worker is there: a run waits until the next firing cancels it.
        string[] names = [.. Enumerable.Range(1, 40).Select(i => $"clock-{i:d2}")];
        string spec = await File.ReadAllTextAsync(bench.Spec, TestContext.Current.CancellationToken);
        foreach (string name in names)
            await cluster.Post("/api/v1/schedules", new { name, spec, cron = "* * * * * *", overlap = "Cancel" });
        for (int kill = 1; kill <= 3; kill++)
        {
            await Eventually(async () => await cluster.Count("select count(*) from firings") >= 100 * kill);
            // The trail's head is held from here, so that a firing stops before its end: entered, its run submitted, not committed.
            await using (NpgsqlConnection holder = new(cluster.Postgres))
            {
                await holder.OpenAsync(TestContext.Current.CancellationToken);
                await using NpgsqlTransaction held = await holder.BeginTransactionAsync(TestContext.Current.CancellationToken);
                await using (NpgsqlCommand hold = new("select * from audit_heads for update", holder, held))
                    await hold.ExecuteNonQueryAsync(TestContext.Current.CancellationToken);
                await Eventually(async () =>
                    await cluster.Count("select count(*) from pg_stat_activity a join pg_locks l on l.pid = a.pid join pg_class c on "
                        + "c.oid = l.relation where a.application_name = 'second' and a.wait_event_type = 'Lock' and c.relname = "
                        + "'firings' and l.mode = 'RowExclusiveLock'") > 0);
                second.Kill();
            }
            second = await cluster.Orchestrator($"http://127.0.0.1:{FreePorts.Next()}", "second");
        }
        await Eventually(async () => await cluster.Count("select count(*) from firings") >= 1000);
        // The queues' depths are counted beside it: nobody takes from that of ingestion.
        await Eventually(async () => Regex.IsMatch(await cluster.Get("/metrics"),
            "armoflow_queue_depth\\{[^}]*queue=\"ingestion\"[^}]*\\} [1-9]"));
        foreach (string name in names) await cluster.Post($"/api/v1/schedules/{name}/pause");
        // Each firing has a run of its own, and no run is without its firing, whoever was killed in between.
        await Eventually(async () => await cluster.Count("select count(*) from firings where run_id is null") == 0);
        // One look at all: a period that was due before the pause may fire after it.
        string counts = await cluster.Text("""
            select concat_ws(' ', (select count(*) from firings), (select count(distinct run_id) from firings),
              (select count(*) from runs where trigger like 'schedule clock-%'), (select count(distinct trigger) from runs))
            """);
        counts.Split(' ').Distinct().Count().ShouldBe(1, counts);
        (await CommandLine.Succeed("schedules", "history", "clock-01", "--server", cluster.Url)).Output.ShouldContain("Submitted");
        (await CommandLine.Succeed("audit", "verify", "--server", cluster.Url)).Output.ShouldContain("whole");
    }

    [Fact]
    public async Task A_period_that_passed_while_no_server_ran_fires_by_its_rule()
    {
        bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "missed");
        Member orchestrator = await cluster.Orchestrator();
        string due = $"{DateTimeOffset.UtcNow.AddMinutes(-10).Minute} * * * *"; // ten minutes ago, and not again for fifty
        foreach (string rule in new[] { "Once", "Skip" })
            await CommandLine.Succeed("schedules", "add", rule, bench.Spec, "--cron", due, "--missed", rule, "--server", cluster.Url);
        orchestrator.Kill();
        // as though it had been down since
        await cluster.Do("update schedules set active_since = active_since - interval '150 minutes', updated_at = now()");
        await cluster.Orchestrator();
        await Eventually(async () => await cluster.Count("select count(*) from firings") == 2);
        (await cluster.Count("select count(*) from firings where schedule = 'Once' and outcome = 'Submitted' and run_id is not null and "
            + "detail = 'one firing for 3 periods'"))
                .ShouldBe(1);
        (await cluster.Count("select count(*) from firings where schedule = 'Skip' and outcome = 'Missed' and run_id is null")).ShouldBe(1);
        (await cluster.Count("select count(*) from runs")).ShouldBe(1);
    }

    [Fact]
    public async Task A_full_store_fails_the_run_with_the_remedy_and_a_retry_finishes_it()
    {
        bench.Require();
        string mount = Directory.CreateTempSubdirectory("armoflow-full-").FullName;
        Assert.SkipUnless(await SmallDisk.Succeeds("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", mount),
            "needs the right to mount a small tmpfs");
        try
        {
            await using (Cluster cluster = await Cluster.Make(bench.Servers, "full_store", mount))
            {
                await Task.WhenAll(cluster.Orchestrator(), cluster.Worker());
                CommandResult failed =
                    await CommandLine.Refused(["run", bench.Spec, "--server", cluster.Url, "--json"], "no space left", "Free some space");
                (await SmallDisk.Succeeds("mount", "-o", "remount,size=64m", mount)).ShouldBeTrue();
                string run = failed.Json["runId"]!.GetValue<string>();
                await CommandLine.Succeed("runs", "retry", run, "--server", cluster.Url);
                RunTests.Artifacts(await cluster.Finished(run, Limit)).ShouldBe(bench.Embedded);
            }
        }
        finally
        {
            await SmallDisk.Succeeds("umount", mount);
            Directory.Delete(mount);
        }
    }

    [Fact]
    public async Task A_worker_that_is_asked_to_stop_gives_its_step_back_and_leaves()
    {
        bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "asked_to_stop");
        Member[] members = await Task.WhenAll(cluster.Orchestrator(), cluster.Worker());
        string run = await cluster.Submit(bench.Spec);
        await cluster.UntilState(run, "TrainingGating");
        await members[1].Signal("TERM");
        (await members[1].Exited(TimeSpan.FromSeconds(20))).ShouldBe(0, members[1].Said);
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
        bench.Require();
        using SmallProject project = new(gatingSteps: 4_000); // long enough to be caught in the middle
        SortedDictionary<string, string> embedded = RunTests.Artifacts((await project.Run()).Json);
        await using Cluster cluster = await Cluster.Make(bench.Servers, "silent");
        Member[] members = await Task.WhenAll(cluster.Orchestrator(), cluster.Worker());
        string run = await cluster.Submit(project.Spec);
        await cluster.UntilState(run, "TrainingGating");
        await Eventually(async () => await cluster.Count("select count(*) from work_leases where step = 'gating'") > 0);
        await members[1].Signal("STOP");
        long start = Stopwatch.GetTimestamp();
        while (await cluster.Count("select count(*) from work_leases") > 0) await Task.Delay(500);
        Stopwatch.GetElapsedTime(start).ShouldBeLessThan(TimeSpan.FromSeconds(60));
        await Eventually(async () => await cluster.Count("select count(*) from workers") == 0);
        await Eventually(async () => JsonNode.Parse(await cluster.Get($"/api/v1/runs/{run}"))!["steps"]!.AsArray()
            .Single(s => s!["name"]!.GetValue<string>() == "gating") is { } step
            && step["status"]!.GetValue<string>() == "Lost"
            && step["detail"]!.GetValue<string>().Contains("no worker serves 'gating'", StringComparison.Ordinal));
        await Eventually(async () => (await Logs(cluster, run)).Any(l => l is { Step: "gating", Outcome: "Lost", Artifact: not null }));
        (await CommandLine.Succeed("runs", "logs", run, "--step", "gating", "--server", cluster.Url)).Output
            .ShouldContain("nothing more was heard of its worker");
        await cluster.Worker();
        await members[1].Signal("CONT");
        JsonNode document = await cluster.Finished(run, Limit);
        RunTests.Artifacts(document).ShouldBe(embedded);
        (await cluster.Count("select count(*) from faults")).ShouldBe(0);
    }

    [Fact]
    public async Task Cancelling_during_feature_extraction_frees_the_workers()
    {
        bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "cancelled");
        Member[] members = await Task.WhenAll(cluster.Worker(), cluster.Worker(), cluster.Orchestrator());
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

        TimeSpan CpuTime() => workers.Aggregate(TimeSpan.Zero, (sum, w) => sum + w.CpuTime);
    }

    [Fact]
    public async Task Wrong_addresses_passwords_schemas_and_versions_are_refused_with_a_remedy()
    {
        bench.Require();
        string postgres = bench.Servers.PostgresConnection, rabbitMq = bench.Servers.RabbitMqAddress;
        await using Cluster cluster = await Cluster.Make(bench.Servers, "refused");
        string[] common = ["orchestrator", "--artifacts", Path.GetTempPath(), "--wait", "6"];
        await CommandLine.Refused([.. common, "--postgres", cluster.Postgres], "--rabbitmq is missing", "armoflow dev up");
        await CommandLine.Refused([.. common, "--rabbitmq", "localhost", "--postgres", cluster.Postgres], "not an address");
        await CommandLine.Fails([.. common, "--rabbitmq", rabbitMq, "--postgres", "Host=127.0.0.1;Port=1;Username=x"],
            "waiting for Postgres", "Postgres does not answer", "ARMOFLOW_POSTGRES");
        await CommandLine.Fails([.. common, "--rabbitmq", "amqp://guest:guest@127.0.0.1:1/", "--postgres", cluster.Postgres],
            "waiting for RabbitMQ", "RabbitMQ does not answer", "ARMOFLOW_RABBITMQ");
        await CommandLine.Refused([
            .. common,
            "--rabbitmq",
            rabbitMq.Replace("guest:guest", "guest:wrong", StringComparison.Ordinal),
            "--postgres",
            cluster.Postgres
        ], "RabbitMQ refuses the user");
        await CommandLine.Refused(["orchestrator", "--artifacts", "/proc/nothing", "--rabbitmq", rabbitMq, "--postgres", cluster.Postgres],
            "--artifacts /proc/nothing", "can write");
        await CommandLine.Refused([
            .. common,
            "--rabbitmq",
            rabbitMq,
            "--postgres",
            postgres.Replace("Database=postgres", "Database=template1", StringComparison.Ordinal)
        ], "schema is not up to date", "db migrate");
        await CommandLine.Refused([
            "worker", "--artifacts", Path.GetTempPath(), "--rabbitmq", rabbitMq, "--postgres", cluster.Postgres, "--steps", "gatting"
        ], "--steps gatting", "gating");
        string mount = Directory.CreateTempSubdirectory("armoflow-readonly-").FullName;
        if (await SmallDisk.Succeeds("mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", mount))
        {
            await CommandLine.Refused(["worker", "--artifacts", mount, "--rabbitmq", rabbitMq, "--postgres", cluster.Postgres],
                "Read-only file system", "can write");
            await SmallDisk.Succeeds("umount", mount);
        }
        Directory.Delete(mount);
        CommandResult doctor =
            await CommandLine.Run("doctor", "--rabbitmq", rabbitMq, "--postgres", cluster.Postgres, "--artifacts", "/proc/nothing");
        doctor.ExitCode.ShouldBe(1);
        foreach (string part in new[] { "Postgres", "RabbitMQ", "artifact store", "/proc/nothing" }) doctor.Output.ShouldContain(part);
        await cluster.Do("update settings set value = '999' where key = 'protocol'; insert into settings values ('protocol', '999') on "
            + "conflict do nothing");
        await CommandLine.Refused(["worker", "--artifacts", Path.GetTempPath(), "--rabbitmq", rabbitMq, "--postgres", cluster.Postgres],
            $"version {Protocol.Version}", "version 999");
    }

    private static async Task<IReadOnlyList<(string Step, string Outcome, string? Artifact)>> Logs(Cluster cluster, string run) =>
        [.. JsonNode.Parse(await cluster.Get($"/api/v1/runs/{run}/logs"))!.AsArray()
            .Select(l => (l!["step"]!.GetValue<string>(), l["outcome"]!.GetValue<string>(), l["sha256"]?.GetValue<string>()))];
}
