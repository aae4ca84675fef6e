using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ArmoFlow.RewardModel.Text;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>What a team does with finished models: promote, score, ask who did what.</summary>
public class OperationsTests
{
    [Fact]
    public async Task Versions_are_promoted_through_their_gates_rolled_back_and_asked_for_by_time()
    {
        using SmallProject project = new();
        project.Edit("objectives: [", "promotion: { minimumHeldOut: 0.5, sectionLoss: 1 }\nobjectives: [");
        string[] at = ["--workspace", project.Workspace];
        string first = (await project.Run()).Json["runId"]!.GetValue<string>();
        project.Edit("seed: 17", "seed: 18");
        await project.Run();
        await project.Run(); // equal bytes: no third version
        JsonNode versions = (await CommandLine.Succeed(["models", "show", "sample", "--json", .. at])).Json["versions"]!;
        versions.AsArray().Select(v => v!["version"]!["version"]!.GetValue<int>()).ShouldBe([2, 1]);

        (await CommandLine.Succeed(["models", "promote", "sample@1", .. at])).Error.ShouldContain("sample@champion is version 1 now");
        JsonNode promotion = (await CommandLine.Succeed(["models", "promote", "sample@2", "--reason", "newer", "--json", .. at])).Json;
        promotion["verdicts"]!.AsArray().Select(v => v!["gate"]!.GetValue<string>()).ShouldContain("minimumHeldOut");
        promotion["verdicts"]!.AsArray().First(v => v!["gate"]!.GetValue<string>().StartsWith("sectionLoss.", StringComparison.Ordinal))!["detail"]!.GetValue<string>().ShouldContain("interval of the paired difference");
        DateTimeOffset second = DateTimeOffset.UtcNow;
        (await CommandLine.Succeed(["models", "rollback", "sample", "--reason", "regret", .. at])).Error.ShouldContain("version 1 again");
        (await CommandLine.Succeed(["models", "at", second.ToString("O"), "champion", "--json", .. at])).Json[0]!["version"]!.GetValue<int>().ShouldBe(2);
        (await CommandLine.Succeed(["models", "at", DateTimeOffset.UtcNow.ToString("O"), "champion", .. at])).Output.ShouldContain("regret");
        (await CommandLine.Succeed(["models", "list", .. at])).Output.ShouldContain("champion → 1");

        project.Edit("minimumHeldOut: 0.5", "minimumHeldOut: 1");
        project.Edit("seed: 18", "seed: 19");
        await project.Run();
        CommandResult refused = await CommandLine.Run(["models", "promote", "sample@3", .. at]);
        (refused.ExitCode, refused.Output.Contains("held-out accuracy", StringComparison.Ordinal)).ShouldBe((1, true));
        await CommandLine.Refused(["models", "promote", "sample@3", "--force", .. at], "needs a reason");
        (await CommandLine.Succeed(["models", "promote", "sample@3", "--force", "--reason", "a demonstration", .. at])).Error.ShouldContain("though a gate did not hold");
        await CommandLine.Refused(["models", "promote", "sample", .. at], "NAME@VERSION");
        await CommandLine.Refused(["models", "show", "smaple", .. at], "no model 'smaple'");

        string[] asked = [.. (await CommandLine.Succeed(["audit", "query", "--where", "subject = 'model/sample' AND NOT action = 'model.version'", "--json", .. at])).Json["events"]!.AsArray().Select(e => e!["action"]!.GetValue<string>())];
        asked.ShouldBe(["model.forced", "model.refused", "model.rolled-back", "model.promoted", "model.promoted"]);
        (await CommandLine.Succeed(["audit", "query", "--where", $"subject = 'run/{first}'", "--json", .. at])).Json["events"]!.AsArray().Count.ShouldBe(8, "submitted, six steps begun, completed");
        string export = Path.Combine(project.Folder, "audit.jsonl");
        await CommandLine.Succeed(["audit", "export", "--out", export, .. at]);
        (await CommandLine.Succeed("audit", "verify", "--export", export)).Output.ShouldContain("whole");
        (await CommandLine.Succeed(["audit", "verify", "--head", export + ".head.json", .. at])).Output.ShouldContain("whole");
        string pack = Path.Combine(project.Folder, "evidence.zip"), unpacked = Path.Combine(project.Folder, "evidence");
        await CommandLine.Succeed(["audit", "evidence", "sample@1", "--out", pack, .. at]);
        System.IO.Compression.ZipFile.ExtractToDirectory(pack, unpacked);
        foreach (string[] sum in File.ReadLines(Path.Combine(unpacked, "SHA256SUMS")).Select(l => l.Split("  ")))
            Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(Path.Combine(unpacked, sum[1])))).ShouldBe(sum[0], sum[1]);
        (await CommandLine.Succeed("audit", "verify", "--export", Path.Combine(unpacked, "audit.jsonl"))).Output.ShouldContain("whole");
        File.ReadAllText(Path.Combine(unpacked, "README.md")).ShouldContain(first);
        JsonNode.Parse(File.ReadAllText(Path.Combine(unpacked, "lineage.json")))!.AsArray().Select(s => s!["step"]!.GetValue<string>()).ShouldContain("ingestion");
        File.WriteAllLines(export, File.ReadAllLines(export).Where((_, i) => i != 4));
        CommandResult broken = await CommandLine.Run("audit", "verify", "--export", export);
        (broken.ExitCode, broken.Error.Contains("event 5 is missing", StringComparison.Ordinal)).ShouldBe((1, true));
        (await CommandLine.Succeed(["runs", "list", "--where", $"status = 'Completed' AND id != '{first}'", "--json", .. at])).Json["runs"]!.AsArray().Count.ShouldBe(3);
        await CommandLine.Refused(["runs", "list", "--where", "stauts = 'x'", .. at], "no field 'stauts'");
    }

    [Fact]
    public async Task A_server_scores_as_the_command_line_does_and_rewards_trainers()
    {
        using SmallProject project = new();
        string run = (await project.Run()).Json["runId"]!.GetValue<string>();
        string[] at = ["--workspace", project.Workspace];
        await CommandLine.Succeed(["models", "promote", "sample@1", .. at]);
        (string Prompt, string Response)[] texts = [("please debug", "clear useful answer"), ("please debug", "vague"), ("tell me a story", "a long and rambling answer about nothing")];
        string input = Path.Combine(project.Folder, "input.jsonl");
        File.WriteAllLines(input, texts.Select(t => $$"""{"prompt":"{{t.Prompt}}","response":"{{t.Response}}"}"""));
        double[] expected = [.. (await CommandLine.Succeed(["score", "--model", "sample", "--input", input, "--json", .. at])).Json["scores"]!.AsArray().Select(s => s!["score"]!.GetValue<double>())];
        double steered = (await CommandLine.Succeed(["score", "--run", run, "--prompt", texts[0].Prompt, "--response", texts[0].Response, "--steer", "safety=1", "--json", .. at])).Json["scores"]![0]!["score"]!.GetValue<double>();
        string key = (await CommandLine.Succeed(["keys", "create", "trainer", "--scope", "Viewer", .. at])).Output.Trim(), admin = (await CommandLine.Succeed(["keys", "create", "ada", "--scope", "Admin", .. at])).Output.Trim();

        using Process server = CommandLine.Start("serve", "--urls", "http://0.0.0.0:0", "--workspace", project.Workspace);
        server.BeginOutputReadLine();
        TaskCompletionSource<string> announced = new();
        server.ErrorDataReceived += (_, e) => { if (e.Data?.Contains(" on http", StringComparison.Ordinal) == true) announced.TrySetResult(e.Data.Split(" on ")[1].Split(';')[0]); };
        server.BeginErrorReadLine();
        Uri url = new((await announced.Task.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken)).Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal).Replace("[::]", "127.0.0.1", StringComparison.Ordinal));
        using HttpClient http = new() { BaseAddress = url };
        (await http.PostAsJsonAsync("/api/v1/score", new { }, TestContext.Current.CancellationToken)).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);

        JsonNode answer = await Post("/api/v1/score", new { model = "sample@champion", items = texts.Select(t => new { prompt = t.Prompt, response = t.Response }), pairs = new[] { new { prompt = texts[0].Prompt, chosen = texts[0].Response, rejected = texts[1].Response } } });
        answer["version"]!.GetValue<int>().ShouldBe(1);
        answer["scores"]!.AsArray().Select(s => s!["score"]!.GetValue<double>()).Zip(expected).ShouldAllBe(p => Math.Abs(p.First - p.Second) < 1e-6 * Math.Max(1, Math.Abs(p.Second)));
        answer["scores"]![0]!["objectives"]!.AsArray().Sum(o => o!["contribution"]!.GetValue<double>()).ShouldBe(answer["scores"]![0]!["score"]!.GetValue<double>(), 1e-9);
        answer["pairs"]![0]!["chosenWins"]!.GetValue<bool>().ShouldBe(expected[0] > expected[1]);
        (await Post("/api/v1/score", new { run, prompt = texts[0].Prompt, response = texts[0].Response, steer = new[] { "safety=1" }, explain = false }))["scores"]![0]!["score"]!.GetValue<double>().ShouldBe(steered, 1e-6 * Math.Max(1, Math.Abs(steered)));

        // As OpenRLHF's trainers do: prompt and response in the model's template, the address in --remote_rm_url.
        string[] query = [.. texts.Select(t => ChatTemplate.Render([new Message("user", t.Prompt), new Message("assistant", t.Response)], first: true))];
        JsonNode reward = await Post("/get_reward?model=sample", new { query, prompts = query, labels = query });
        reward["rewards"]!.AsArray().Select(r => r!.GetValue<double>()).Zip(expected).ShouldAllBe(p => Math.Abs(p.First - p.Second) < 1e-6 * Math.Max(1, Math.Abs(p.Second)));
        reward["scores"]!.AsArray().Count.ShouldBe(3);
        reward["extra_logs"]!["safety"]!.AsArray().Count.ShouldBe(3);

        string metrics = await http.GetStringAsync(new Uri("/metrics", UriKind.Relative), TestContext.Current.CancellationToken);
        foreach (string metric in new[] { "armoflow_scores_total", "http_server_request_duration_seconds" }) metrics.ShouldContain(metric);

        using HttpResponseMessage bad = await http.PostAsJsonAsync("/api/v1/score", new { model = "sample", items = new[] { new { prompt = "a", response = "" } } }, TestContext.Current.CancellationToken);
        bad.StatusCode.ShouldBe(HttpStatusCode.BadRequest);
        (await bad.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).ShouldContain("item 1: the conversation: an empty response");
        (await http.PutAsJsonAsync("/api/v1/models/sample/aliases/other", new { version = 1 }, TestContext.Current.CancellationToken)).StatusCode.ShouldBe(HttpStatusCode.Forbidden);
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", admin);
        (await http.PutAsJsonAsync("/api/v1/models/sample/aliases/other", new { version = 1 }, TestContext.Current.CancellationToken)).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await http.GetStringAsync(new Uri("/api/v1/audit?where=actor%3D'key ada'", UriKind.Relative), TestContext.Current.CancellationToken)).ShouldContain("model.promoted");
        server.Kill();
        await server.WaitForExitAsync(TestContext.Current.CancellationToken);

        async Task<JsonNode> Post(string path, object body)
        {
            using HttpResponseMessage response = await http.PostAsJsonAsync(path, body, TestContext.Current.CancellationToken);
            string text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            response.StatusCode.ShouldBe(HttpStatusCode.OK, text);
            return JsonNode.Parse(text)!;
        }
    }

    [Fact]
    public async Task A_run_is_reproduced_to_the_byte_or_the_first_step_that_differs_is_named()
    {
        using SmallProject project = new();
        string[] at = ["--workspace", project.Workspace];
        await CommandLine.Succeed(["datasets", "add", "judge", project.Data("ratings.jsonl"), .. at]);
        project.Edit("files: [data/ratings.jsonl]", "files: ['dataset:judge']");
        string run = (await project.Run()).Json["runId"]!.GetValue<string>();
        (await CommandLine.Succeed(["runs", "reproduce", run, .. at])).Output.ShouldContain("identical: 16 artifacts");
        project.Append("pairs.jsonl", File.ReadLines(project.Data("pairs.jsonl")).First().Replace("please", "kindly", StringComparison.Ordinal));
        CommandResult differs = await CommandLine.Run(["runs", "reproduce", run, "--json", .. at]);
        (differs.ExitCode, differs.Json["identical"]!.GetValue<bool>(), differs.Json["firstDifference"]!.GetValue<string>()).ShouldBe((1, false, "ingestion"));
        Directory.EnumerateDirectories(project.Workspace, "reproduce-*").ShouldBeEmpty();
    }

    [Fact]
    public async Task Data_that_arrives_sets_off_a_retrain_that_extracts_only_what_is_new()
    {
        using SmallProject project = new();
        string[] lines = File.ReadAllLines(project.Data("ratings.jsonl")), at = ["--workspace", project.Workspace];
        File.WriteAllLines(project.Data("first.jsonl"), lines[..500]);
        File.WriteAllLines(project.Data("later.jsonl"), lines[500..]);
        project.Edit("files: [data/ratings.jsonl]", "files: ['dataset:judge']");
        project.Edit("objectives: [", "retrain: { newRows: 50, debounceSeconds: 0 }\nobjectives: [");
        await CommandLine.Refused(["run", project.Spec, .. at], "no data set 'judge'");
        (await CommandLine.Succeed(["datasets", "add", "judge", project.Data("first.jsonl"), .. at])).Error.ShouldContain("version 1 of judge");
        (await CommandLine.Succeed(["datasets", "add", "judge", project.Data("first.jsonl"), .. at])).Error.ShouldContain("there already");
        JsonNode first = (await project.Run()).Json;
        first["metrics"]!["ingestion"]!["sources"]![0]!["rowsRead"]!.GetValue<int>().ShouldBe(500);

        using Process server = CommandLine.Start("serve", "--urls", "http://127.0.0.1:0", "--workspace", project.Workspace);
        server.BeginOutputReadLine();
        TaskCompletionSource<string> announced = new();
        server.ErrorDataReceived += (_, e) => { if (e.Data?.Contains(" on http", StringComparison.Ordinal) == true) announced.TrySetResult(e.Data.Split(" on ")[1].Split(';')[0]); };
        server.BeginErrorReadLine();
        string url = await announced.Task.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
        (await CommandLine.Succeed("policies", "add", "retrain", project.Spec, "--server", url)).Error.ShouldContain("50 new rows");
        await CommandLine.Succeed("datasets", "add", "judge", project.Data("later.jsonl"), "--server", url);
        (await CommandLine.Succeed("datasets", "list", "--server", url)).Output.ShouldContain("judge");
        JsonNode? second = null;
        for (long start = Stopwatch.GetTimestamp(); second is null; await Task.Delay(500, TestContext.Current.CancellationToken))
        {
            Stopwatch.GetElapsedTime(start).ShouldBeLessThan(TimeSpan.FromMinutes(3));
            second = (await CommandLine.Succeed("runs", "list", "--status", "Completed", "--server", url, "--json")).Json["runs"]!.AsArray().FirstOrDefault(r => r!["trigger"] is not null);
        }
        second["trigger"]!.GetValue<string>().ShouldBe("policy retrain: 100 new rows in judge@2");
        second["metrics"]!["ingestion"]!["sources"]![0]!["rowsRead"]!.GetValue<int>().ShouldBe(600);
        second["steps"]!.AsArray().Single(s => s!["name"]!.GetValue<string>() == "features")!["detail"]!.GetValue<string>().ShouldStartWith("100 conversations extracted");
        // What the dashboard draws is there, but for what tells of trouble and of scoring, of which there was none.
        using HttpClient http = new() { BaseAddress = new Uri(url) };
        string metrics = await http.GetStringAsync(new Uri("/metrics", UriKind.Relative), TestContext.Current.CancellationToken);
        string[] drawn = [.. Regex.Matches(File.ReadAllText(Path.Combine(HouseTests.Root(), "deploy", "grafana-dashboard.json")), "(armoflow|http_server)_[a-z_]+").Select(m => m.Value).Distinct()];
        drawn.Length.ShouldBeGreaterThan(8);
        foreach (string metric in drawn.Except(["armoflow_faults_total", "armoflow_work_lost_total", "armoflow_outbox_orphans_total", "armoflow_scores_total"])) metrics.ShouldContain(metric + "{");
        (await CommandLine.Succeed("audit", "query", "--where", "action IN ('policy.fired', 'dataset.added')", "--server", url)).Output.ShouldContain("judge");
        server.Kill();
        await server.WaitForExitAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task A_server_that_others_can_reach_does_not_start_open()
    {
        using SmallProject project = new();
        await CommandLine.Refused(["serve", "--urls", "http://0.0.0.0:0", "--workspace", project.Workspace], "keys create", "localhost");
        await CommandLine.Refused(["serve", "--urls", "nonsense", "--workspace", project.Workspace], "--urls nonsense");
        await CommandLine.Refused(["keys", "revoke", "none", "--workspace", project.Workspace], "no usable key");
    }
}
