using System.Diagnostics;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using Npgsql;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// An orchestrator and three workers, and everything that can happen to them: the run ends with the bytes of the undisturbed
/// embedded run. Each test prints what it injected; tests/faults.sh sums them up.
/// </summary>
public sealed class FaultInjectionTests(FaultBench bench, ITestOutputHelper output) : FaultChecks(bench, output)
{
    private static readonly string[] States =
        ["Ingesting", "ExtractingFeatures", "FittingRegression", "FittingDecorrelation", "TrainingGating", "Evaluating"];
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(15);

    [Fact]
    public Task Nothing_happens() => Check("undisturbed", (_, _, _) => Task.FromResult(0), Apart.Everybody);

    [Fact]
    public Task Workers_are_killed_every_few_seconds() => Check("worker killed", async (cluster, run, workers) =>
    {
        Random random = new(17);
        int kills = 0;
        while (!await cluster.HasEnded(run))
        {
            await Task.Delay(TimeSpan.FromSeconds(3 + (2 * random.NextDouble())));
            int victim = random.Next(workers.Length);
            workers[victim].Process.Kill();
            kills++;
            workers[victim] = await cluster.WorkerApart();
        }
        return kills;
    }, Apart.Workers);

    [Fact]
    public Task The_orchestrator_is_killed_in_every_state() => Check("orchestrator killed", async (cluster, run, _) =>
    {
        HashSet<string> hit = [];
        Member orchestrator = cluster.Members.First(m => m.Said.Contains("orchestrator on", StringComparison.Ordinal));
        while (!await cluster.HasEnded(run))
        {
            if (await cluster.StateOf(run) is { } state && States.Contains(state) && hit.Add(state))
            {
                orchestrator.Process.Kill();
                orchestrator = await cluster.Orchestrator(apart: true);
            }
            await Task.Delay(Look);
        }
        hit.Count.ShouldBe(States.Length, string.Join(", ", hit));
        return hit.Count;
    }, Apart.Orchestrator);

    [Fact]
    public Task Two_orchestrators_work_side_by_side_and_one_is_killed() => Check("two orchestrators", async (cluster, run, _) =>
    {
        Member second = await cluster.Orchestrator($"http://127.0.0.1:{FreePorts.Next()}", apart: true);
        await cluster.UntilState(run, "TrainingGating");
        second.Process.Kill();
        return 1;
    });

    [Fact]
    public Task Every_message_comes_twice() => Meddle("delivered twice", copies: 2, TimeSpan.Zero, Meddler.Queues);

    [Fact]
    public Task Events_come_late_and_out_of_order() =>
        Meddle("late and reordered", copies: 2, TimeSpan.FromSeconds(2), "runs", "feature-shards");

    [Fact]
    public async Task A_worker_is_cut_off_for_20_seconds_from_each_server()
    {
        await Bench.Require();
        await using Cluster cluster = await Cluster.Make(Bench.Servers, "cut");
        using Proxy broker = new(new Uri(cluster.RabbitMq).Port), database = new(new NpgsqlConnectionStringBuilder(cluster.Postgres).Port);
        string rabbitMq = new UriBuilder(cluster.RabbitMq) { Port = broker.Port }.Uri.ToString(),
            postgres =
                new NpgsqlConnectionStringBuilder(cluster.Postgres) { Port = database.Port, Timeout = 5, CommandTimeout = 10 }.ToString();
        await Check("network cut", cluster, async run =>
        {
            await cluster.UntilState(run, "ExtractingFeatures");
            await broker.Cut(TimeSpan.FromSeconds(20));
            await cluster.UntilState(run, "TrainingGating");
            await database.Cut(TimeSpan.FromSeconds(20));
            return 2;
        }, cluster.Worker(postgres, rabbitMq), cluster.Worker(postgres, rabbitMq), cluster.Worker(postgres, rabbitMq));
    }

    private async Task Meddle(string name, int copies, TimeSpan longestDelay, params string[] queues)
    {
        await Bench.Require();
        await using Cluster cluster = await Cluster.Make(Bench.Servers, name.Replace(' ', '_'));
        await Task.WhenAll(cluster.Orchestrator(), cluster.Worker(), cluster.Worker(), cluster.Worker());
        await using Meddler meddler = await Meddler.Start(cluster.RabbitMq, copies, longestDelay, queues);
        await Check(name, cluster, async run =>
        {
            await cluster.Finished(run, Stuck);
            meddler.Meddled.ShouldBeGreaterThan(7);
            return meddler.Meddled;
        });
    }
}

/// <summary>What happens to the servers themselves.</summary>
[Collection(OutageBench.Collection)]
public sealed class ServerFaultInjectionTests(OutageBench bench, ITestOutputHelper output) : FaultChecks(bench, output)
{
    [Fact]
    public Task The_broker_is_stopped_and_its_node_killed() => Check("broker", async (cluster, run, _) =>
    {
        await cluster.UntilState(run, "ExtractingFeatures");
        await Bench.Servers.RabbitControl(["stop_app"], default);
        await Task.Delay(TimeSpan.FromSeconds(3));
        await Bench.Servers.RabbitControl(["start_app"], default);
        await cluster.UntilState(run, "TrainingGating");
        using (Process kill = Process.Start("pkill", ["-9", "-f", Bench.Servers.NodeName])) await kill.WaitForExitAsync();
        await Task.Delay(TimeSpan.FromSeconds(3));
        await Bench.Servers.StartRabbitMq(default);
        return 2;
    });

    [Fact]
    public Task The_database_is_restarted_and_crashes() => Check("database", async (cluster, run, _) =>
    {
        int faults = 0;
        foreach ((string state, string mode) in new[] { ("ExtractingFeatures", "fast"), ("TrainingGating", "immediate") })
        {
            await cluster.UntilState(run, state);
            await Bench.Servers.StopPostgres(mode, default);
            await Task.Delay(TimeSpan.FromSeconds(3));
            await Bench.Servers.StartPostgres(default);
            faults++;
        }
        return faults;
    });
}

[Flags]
internal enum Apart
{
    Nobody = 0,
    Workers = 1,
    Orchestrator = 2,
    Everybody = Workers | Orchestrator,
}

/// <summary>A run in which something is injected, and what is asked of it.</summary>
public abstract class FaultChecks(FaultBench bench, ITestOutputHelper output)
{
    protected static readonly TimeSpan Stuck = TimeSpan.FromMinutes(8);

    protected FaultBench Bench => bench;

    /// <param name="name">Of what is injected.</param>
    /// <param name="inject">Does it, and returns how often.</param>
    /// <param name="apart">Who is in a process of its own, which can be killed.</param>
    private protected async Task Check(string name, Func<Cluster, string, Member[], Task<int>> inject, Apart apart = Apart.Nobody)
    {
        await Bench.Require();
        await using Cluster cluster = await Cluster.Make(Bench.Servers, name.Replace(' ', '_'));
        Member[] workers = await Task.WhenAll(Enumerable.Range(0, 3)
            .Select(_ => apart.HasFlag(Apart.Workers) ? cluster.WorkerApart() : cluster.Worker()));
        await cluster.Orchestrator(apart: apart.HasFlag(Apart.Orchestrator));
        await Check(name, cluster, run => inject(cluster, run, workers));
    }

    private protected async Task Check(string name, Cluster cluster, Func<string, Task<int>> inject, params Task<Member>[] starting)
    {
        if (starting.Length > 0) await Task.WhenAll([.. starting, cluster.Orchestrator()]);
        long start = Stopwatch.GetTimestamp();
        string run = await cluster.Submit(Bench.Spec);
        int faults = await inject(run);
        JsonNode document = await cluster.Finished(run, Stuck);
        SortedDictionary<string, string> artifacts = RunTests.Artifacts(document);
        int divergent = artifacts.Count(a => Bench.Embedded.GetValueOrDefault(a.Key) != a.Value)
            + Bench.Embedded.Keys.Count(k => !artifacts.ContainsKey(k));
        string line =
            $"FAULTS {name}: {faults} injected, 1 run, {document["status"]}, {divergent} divergent artifacts, "
                + $"{Stopwatch.GetElapsedTime(start).TotalSeconds:f0} s";
        output.Say(line);
        document["status"]!.GetValue<string>().ShouldBe("Completed", document["error"]?.GetValue<string>());
        divergent.ShouldBe(0);
        (await cluster.Count("select count(*) from faults")).ShouldBe(0);
    }
}
