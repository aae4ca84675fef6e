using System.Text.RegularExpressions;
using ArmoFlow.Cli;
using Npgsql;
using Shouldly;
using Xunit;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Schedules that several orchestrators share, or that no server was there to fire.</summary>
public class ClockTests(FaultBench bench)
{
    [Fact]
    public async Task Two_orchestrators_fire_each_of_a_thousand_periods_once_also_when_one_is_killed_while_it_fires()
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "clocks");
        await cluster.Orchestrator();
        Member second = await cluster.Orchestrator($"http://127.0.0.1:{FreePorts.Next()}", "second", apart: true);
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
                second.Process.Kill();
            }
            second = await cluster.Orchestrator($"http://127.0.0.1:{FreePorts.Next()}", "second", apart: true);
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
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "missed");
        Member orchestrator = await cluster.Orchestrator(apart: true);
        string due = $"{DateTimeOffset.UtcNow.AddMinutes(-10).Minute} * * * *"; // ten minutes ago, and not again for fifty
        foreach (string rule in new[] { "Once", "Skip" })
            await CommandLine.Succeed("schedules", "add", rule, bench.Spec, "--cron", due, "--missed", rule, "--server", cluster.Url);
        orchestrator.Process.Kill();
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
}
