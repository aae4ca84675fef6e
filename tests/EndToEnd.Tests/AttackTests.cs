using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using Shouldly;
using Xunit;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// Requests and runs that are made to stop a server, beside ordinary runs and a client that scores: the process lives, the ordinary
/// runs end with the bytes that they have alone, every score is answered, and the offender gets its error. tests/attacks.sh does it
/// with more runs.
/// </summary>
public sealed class AttackTests(FaultBench bench, ITestOutputHelper output)
{
    private const long MostMebibytes = 3072;
    private static readonly (string, string) HeapLimit = ("DOTNET_GCHeapHardLimit", "0x40000000"); // 1 GiB: beyond it the process ends
    private const int LongestDocument = 200_000;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan AskInterval = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan ScoreInterval = TimeSpan.FromMilliseconds(20);

    private static int Runs => int.Parse(Environment.GetEnvironmentVariable("ARMOFLOW_ATTACK_RUNS") ?? "3", CultureInfo.InvariantCulture);

    [Fact]
    public async Task One_process_withstands_them()
    {
        using SmallProject project = Seeds.Project();
        string url = $"http://127.0.0.1:{FreePorts.Next()}", workspace = Path.Combine(project.Folder, "served");
        await using Member server =
            Member.Apart("serving", ["serve", "--urls", url, "--workspace", workspace], Seeds.ShardTokens, HeapLimit);
        await Withstand("serve", project, url, [server]);
    }

    [Fact]
    public async Task Servers_withstand_them()
    {
        await bench.Require();
        using SmallProject project = Seeds.Project();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "attacks");
        cluster.Environment.AddRange([Seeds.ShardTokens, HeapLimit]);
        Member worker = await cluster.WorkerApart(), orchestrator = await cluster.Orchestrator(apart: true);
        await Withstand("servers", project, cluster.Url, [orchestrator, worker]);
    }

    private async Task Withstand(string name, SmallProject project, string url, Member[] members)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        SortedDictionary<string, string>[] alone = await Seeds.Alone(Runs);
        using HttpClient http = new() { BaseAddress = new Uri(url + "/"), Timeout = TimeSpan.FromMinutes(2) };
        await Ready(http);
        JsonNode first = await Ended(http, await Submitted(http, await File.ReadAllTextAsync(project.Spec, cancel), project.Folder));
        first["status"]!.GetValue<string>().ShouldBe("Completed", first.ToJsonString());
        await WatchAPipe(http, project);

        using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<List<TimeSpan>> client = Scores(http, over.Token);
        Task<long> peak = Peak(members, over.Token);
        string[] runs = await Task.WhenAll(Enumerable.Range(0, Runs).Select(async seed =>
            await Submitted(http, await File.ReadAllTextAsync(Seeds.SpecOf(project, seed), cancel), project.Folder)));
        string longWord = await Submitted(http, Attacks.LongWordRun(project), project.Folder);
        Poison[] poisons = [.. await Attacks.Runs(project)];
        Task<string>[] ends = [.. poisons.Select(p => EndOf(http, p, project.Folder))];
        foreach (Attack attack in Attacks.Requests("sample"))
        {
            using HttpResponseMessage answer = await attack.Send(http);
            string said = await answer.Content.ReadAsStringAsync(cancel);
            ((int)answer.StatusCode).ShouldBeInRange(400, 499, $"{attack.Name}: {said[..Math.Min(said.Length, 500)]}");
            said.ShouldContain(attack.Says, Case.Insensitive, attack.Name);
            said.Length.ShouldBeLessThan(LongestDocument, attack.Name);
        }
        for (int i = 0; i < poisons.Length; i++) (await ends[i]).ShouldContain(poisons[i].Error, Case.Insensitive, poisons[i].Name);
        for (int seed = 0; seed < Runs; seed++)
        {
            JsonNode run = await Ended(http, runs[seed]);
            run["status"]!.GetValue<string>().ShouldBe("Completed", run.ToJsonString());
            Seeds.Compared(run).ShouldBe(alone[seed]);
        }
        (await Ended(http, longWord))["status"]!.GetValue<string>().ShouldBe("Completed");
        (await http.GetStringAsync("api/v1/runs", cancel)).Length.ShouldBeLessThan(LongestDocument);
        await over.CancelAsync();

        List<TimeSpan> latencies = await client;
        latencies.Sort();
        members.ShouldAllBe(m => m.IsRunning);
        long mebibytes = await peak >> 20;
        (double median, double longest) = (latencies[latencies.Count / 2].TotalMilliseconds, latencies[^1].TotalMilliseconds);
        string line = $"ATTACKS {name}: {Runs} ordinary runs with the bytes they have alone, {poisons.Length} poisonous ones failed, "
            + $"{latencies.Count} scores answered, median {median:f0} ms, longest {longest:f0} ms; most memory {mebibytes} MiB";
        output.Say(line);
        mebibytes.ShouldBeLessThan(MostMebibytes);
    }

    /// <summary>A watched folder in which a named pipe lies beside a file: the file is taken.</summary>
    private static async Task WatchAPipe(HttpClient http, SmallProject project)
    {
        string folder = Directory.CreateDirectory(Path.Combine(project.Folder, "watched")).FullName;
        await Attacks.MakePipe(Path.Combine(folder, "a-pipe.jsonl"));
        string file = Path.Combine(folder, "rows.jsonl");
        File.Copy(project.Data("pairs.jsonl"), file);
        File.SetLastWriteTimeUtc(file, DateTime.UtcNow.AddMinutes(-1)); // written long enough ago to be whole
        using HttpResponseMessage watched = await http.PostAsJsonAsync("api/v1/datasets/arrivals/watches", new { address = folder });
        watched.StatusCode.ShouldBe(HttpStatusCode.OK, await watched.Content.ReadAsStringAsync());
        await Eventually(async () => JsonNode.Parse(await http.GetStringAsync("api/v1/datasets/arrivals/files"))!.AsArray().Count == 1);
    }

    /// <summary>Asks for a score again and again, as a trainer does; the time that each took.</summary>
    private static async Task<List<TimeSpan>> Scores(HttpClient http, CancellationToken over)
    {
        List<TimeSpan> latencies = [];
        while (!over.IsCancellationRequested)
        {
            long asked = Stopwatch.GetTimestamp();
            using HttpResponseMessage answer = await Attacks.Score(http, "sample", "please debug");
            answer.StatusCode.ShouldBe(HttpStatusCode.OK, await answer.Content.ReadAsStringAsync(CancellationToken.None));
            latencies.Add(Stopwatch.GetElapsedTime(asked));
            await Task.Delay(ScoreInterval, CancellationToken.None);
        }
        return latencies;
    }

    private static async Task<long> Peak(Member[] members, CancellationToken over)
    {
        long peak = 0;
        while (!over.IsCancellationRequested)
        {
            peak = Math.Max(peak, members.Max(m => m.Process.MemoryBytes));
            await Task.Delay(AskInterval, CancellationToken.None);
        }
        return peak;
    }

    /// <summary>What a poisonous run's sender is told: as it is submitted, or as it ends.</summary>
    private static async Task<string> EndOf(HttpClient http, Poison poison, string folder)
    {
        using HttpResponseMessage answer = await Attacks.Submit(http, poison.Spec, folder: folder);
        string said = await answer.Content.ReadAsStringAsync();
        if (!answer.IsSuccessStatusCode) return said;
        JsonNode run = await Ended(http, JsonNode.Parse(said)!["runId"]!.GetValue<string>());
        run["status"]!.GetValue<string>().ShouldBe("Failed", poison.Name);
        run.ToJsonString().Length.ShouldBeLessThan(LongestDocument, poison.Name);
        return run["error"]!.GetValue<string>();
    }

    private static async Task<string> Submitted(HttpClient http, string spec, string folder)
    {
        using HttpResponseMessage answer = await Attacks.Submit(http, spec, folder: folder);
        string said = await answer.Content.ReadAsStringAsync();
        answer.IsSuccessStatusCode.ShouldBeTrue(said);
        return JsonNode.Parse(said)!["runId"]!.GetValue<string>();
    }

    private static async Task<JsonNode> Ended(HttpClient http, string run)
    {
        JsonNode document = null!;
        await Eventually(async () =>
        {
            document = JsonNode.Parse(await http.GetStringAsync($"api/v1/runs/{run}"))!;
            return document["status"]!.GetValue<string>() is "Completed" or "Failed" or "Cancelled";
        });
        return document;
    }

    private static Task Ready(HttpClient http) => Eventually(async () =>
    {
        try { return (await http.GetAsync("health/ready")).IsSuccessStatusCode; }
        catch (HttpRequestException) { return false; }
    });
}
