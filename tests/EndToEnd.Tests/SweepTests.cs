using System.Globalization;
using System.Text.Json.Nodes;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// Several runs of the same data at the same time, which all need the same ingestion and the same eight shards of features: each
/// ends, with the bytes that it has alone. tests/sweep.sh does many rounds.
/// </summary>
public sealed class SweepTests(FaultBench bench, ITestOutputHelper output)
{
    private const int RunsAtOnce = 4, RoundsBetweenReports = 10;
    private static readonly TimeSpan Stuck = TimeSpan.FromSeconds(100);

    private static int Rounds =>
        int.Parse(Environment.GetEnvironmentVariable("ARMOFLOW_SWEEP_ROUNDS") ?? "1", CultureInfo.InvariantCulture);

    [Fact]
    public Task Four_seeds_on_two_workers_all_end_with_the_bytes_that_they_have_alone() => Sweep("sweep", kills: false);

    [Fact]
    public Task Workers_that_are_killed_change_nothing_about_it() => Sweep("sweep_kills", kills: true);

    private async Task Sweep(string name, bool kills)
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, name);
        cluster.Environment.Add(Seeds.ShardTokens);
        Member[] workers = await Task.WhenAll(cluster.WorkerApart(), cluster.WorkerApart());
        await cluster.Orchestrator();
        Random random = new(17);
        int stuck = 0, divergent = 0, killed = 0;
        List<string> differences = [];
        using SmallProject project = Seeds.Project();
        SortedDictionary<string, string>[] alone = await Seeds.Alone(RunsAtOnce);
        for (int round = 0; round < Rounds; round++)
        {
            string[] runs =
                await Task.WhenAll(Enumerable.Range(0, RunsAtOnce).Select(seed => cluster.Submit(Seeds.SpecOf(project, seed, round))));
            if (kills) killed += await KillOnce(cluster, workers, random);
            for (int seed = 0; seed < RunsAtOnce; seed++)
            {
                if (await Finished(cluster, runs[seed]) is not { } run) stuck++;
                else if (!Seeds.Compared(run).SequenceEqual(alone[seed]))
                {
                    divergent++;
                    IEnumerable<string> names = Seeds.Compared(run).Except(alone[seed]).Select(a => a.Key);
                    differences.Add($"round {round}, seed {seed}: {string.Join(", ", names)}");
                }
            }
            if ((round + 1) % RoundsBetweenReports == 0 && round + 1 < Rounds) TestReport.Progress(Line(round + 1));
        }
        output.Say(Line(Rounds));
        (stuck, divergent).ShouldBe((0, 0), string.Join('\n', differences.Concat(workers.Select(w => w.Said))));

        string Line(int rounds) =>
            $"SWEEP {name}: {rounds} rounds of {RunsAtOnce} runs, {killed} workers killed: {stuck} stuck, {divergent} divergent";
    }

    private static async Task<int> KillOnce(Cluster cluster, Member[] workers, Random random)
    {
        await Task.Delay(TimeSpan.FromMilliseconds(random.Next(2500))); // somewhere in ingestion, features or what follows
        int victim = random.Next(workers.Length);
        workers[victim].Process.Kill();
        workers[victim] = await cluster.WorkerApart();
        return 1;
    }

    private static async Task<JsonNode?> Finished(Cluster cluster, string run)
    {
        try
        {
            JsonNode document = await cluster.Finished(run, Stuck);
            document["status"]!.GetValue<string>().ShouldBe("Completed", document["error"]?.GetValue<string>());
            return document;
        }
        catch (TimeoutException) { return null; }
    }
}
