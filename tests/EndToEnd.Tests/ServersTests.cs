using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using Shouldly;
using Xunit;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Orchestrator and workers as processes of their own on real servers, as their users see them.</summary>
public class ServersTests(FaultBench bench)
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    [Fact]
    public async Task Workers_of_some_steps_give_the_embedded_run_s_bytes_and_a_second_run_reuses_them()
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "some_steps");
        await Task.WhenAll(cluster.Orchestrator(apart: true), cluster.WorkerApart(["--steps", "ingestion,features,evaluation"]),
            cluster.WorkerApart(["--steps", "regression", "decorrelation", "gating"]));
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
        await bench.Require();
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
    public async Task A_full_store_fails_the_run_with_the_remedy_and_a_retry_finishes_it()
    {
        await bench.Require();
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
    public async Task Wrong_addresses_passwords_schemas_and_versions_are_refused_with_a_remedy()
    {
        await bench.Require();
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

    internal static async Task<IReadOnlyList<(string Step, string Outcome, string? Artifact)>> Logs(Cluster cluster, string run) =>
        [.. JsonNode.Parse(await cluster.Get($"/api/v1/runs/{run}/logs"))!.AsArray()
            .Select(l => (l!["step"]!.GetValue<string>(), l["outcome"]!.GetValue<string>(), l["sha256"]?.GetValue<string>()))];
}
