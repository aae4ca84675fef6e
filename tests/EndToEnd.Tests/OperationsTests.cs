using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.RewardModel.Text.Templates;
using ArmoFlow.Workers.Evaluation;
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
        string first = (await project.Run()).Json["runId"]!.GetValue<string>(), kept = Path.Combine(project.Folder, "kept.json");
        await CommandLine.Succeed(["audit", "head", "--out", kept, .. at]);
        project.Edit("seed: 17", "seed: 18");
        await project.Run();
        await project.Run(); // equal bytes: no third version
        JsonNode versions = (await CommandLine.Succeed(["models", "show", "sample", "--json", .. at])).Json["versions"]!;
        versions.AsArray().Select(v => v!["version"]!["version"]!.GetValue<int>()).ShouldBe([2, 1]);

        (await CommandLine.Succeed(["models", "promote", "sample@1", .. at])).Error.ShouldContain("sample@champion is version 1 now");
        JsonNode promotion = (await CommandLine.Succeed(["models", "promote", "sample@2", "--reason", "newer", "--json", .. at])).Json;
        promotion["verdicts"]!.AsArray().Select(v => v!["gate"]!.GetValue<string>()).ShouldContain("minimumHeldOut");
        promotion["verdicts"]!.AsArray()
            .First(v => v!["gate"]!.GetValue<string>().StartsWith("sectionLoss.", StringComparison.Ordinal))!["detail"]!.GetValue<string>()
            .ShouldContain("interval of the paired difference");
        DateTimeOffset second = DateTimeOffset.UtcNow;
        (await CommandLine.Succeed(["models", "rollback", "sample", "--reason", "regret", .. at])).Error.ShouldContain("version 1 again");
        (await CommandLine.Succeed(
            ["models", "at", second.ToString("O"), "champion", "--json", .. at])).Json[0]!["version"]!.GetValue<int>()
            .ShouldBe(2);
        (await CommandLine.Succeed(["models", "at", second.ToString("O"), "champion", "--json", .. at]))
            .Json[0]!["provedBy"]!.GetValue<long>().ShouldBeGreaterThan(0);
        (await CommandLine.Succeed(["runs", "show", first, "--json", .. at])).Json["provedBy"]!.GetValue<long>().ShouldBeGreaterThan(0);
        (await CommandLine.Succeed(
            ["models", "at", DateTimeOffset.UtcNow.ToString("O"), "champion", .. at])).Output.ShouldContain("regret");
        (await CommandLine.Succeed(["models", "list", .. at])).Output.ShouldContain("champion → 1");

        project.Edit("minimumHeldOut: 0.5", "minimumHeldOut: 1");
        project.Edit("seed: 18", "seed: 19");
        await project.Run();
        CommandResult refused = await CommandLine.Run(["models", "promote", "sample@3", .. at]);
        (refused.ExitCode, refused.Output.Contains("held-out accuracy", StringComparison.Ordinal)).ShouldBe((1, true));
        await CommandLine.Refused(["models", "promote", "sample@3", "--force", .. at], "needs a reason");
        (await CommandLine.Succeed(["models", "promote", "sample@3", "--force", "--reason", "a demonstration", .. at])).Error
            .ShouldContain("though a gate did not hold");
        await CommandLine.Refused(["models", "promote", "sample", .. at], "NAME@VERSION");
        await CommandLine.Refused(["models", "show", "smaple", .. at], "no model 'smaple'");

        string[] asked = [.. (await CommandLine.Succeed([
            "audit",
            "query",
            "--where",
            "subject = 'model/sample' AND NOT action = 'model.version'",
            "--json",
            .. at
        ])).Json["events"]!.AsArray().Select(e => e!["action"]!.GetValue<string>())];
        asked.ShouldBe(["model.forced", "model.refused", "model.rolled-back", "model.promoted", "model.promoted"]);
        (await CommandLine.Succeed(
            ["audit", "query", "--where", $"subject = 'run/{first}'", "--json", .. at])).Json["events"]!.AsArray().Count
            .ShouldBe(8, "submitted, six steps begun, completed");
        string export = Path.Combine(project.Folder, "audit.jsonl");
        string rows = Path.Combine(project.Folder, "rows.jsonl");
        await CommandLine.Succeed(["audit", "export", "--out", export, "--rows", rows, .. at]);
        (await CommandLine.Succeed("audit", "verify", "--export", export)).Output.ShouldContain("whole");
        (await CommandLine.Succeed("audit", "verify", "--export", export, "--rows", rows, "--head", kept))
            .Output.ShouldContain("rows agree with them");
        (await CommandLine.Succeed(["audit", "verify", .. at])).Output.ShouldContain("rows agree with them");
        File.WriteAllText(rows, File.ReadAllText(rows).Replace("\"reason\":\"newer\"", "\"reason\":\"older\"", StringComparison.Ordinal));
        CommandResult forged = await CommandLine.Run("audit", "verify", "--export", export, "--rows", rows);
        (forged.ExitCode, forged.Error.Contains("alias_periods", StringComparison.Ordinal),
            forged.Error.Contains("in reason", StringComparison.Ordinal)).ShouldBe((1, true, true));
        await CommandLine.Refused(["audit", "verify", "--rows", rows, .. at], "--rows: expected with --export FILE");
        (await CommandLine.Succeed(["audit", "verify", "--head", export + ".head.json", .. at])).Output.ShouldContain("whole");
        string pack = Path.Combine(project.Folder, "evidence.zip"), unpacked = Path.Combine(project.Folder, "evidence");
        await CommandLine.Succeed(["audit", "evidence", "sample@1", "--out", pack, .. at]);
        System.IO.Compression.ZipFile.ExtractToDirectory(pack, unpacked);
        foreach (string[] sum in File.ReadLines(Path.Combine(unpacked, "SHA256SUMS")).Select(l => l.Split("  ")))
        {
            Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(Path.Combine(unpacked, sum[1]))))
                .ShouldBe(sum[0], sum[1]);
        }
        (await CommandLine.Succeed("audit", "verify", "--export", Path.Combine(unpacked, "audit.jsonl"), "--rows",
            Path.Combine(unpacked, "rows.jsonl"), "--head", kept)).Output.ShouldContain("rows agree with them");
        File.ReadAllText(Path.Combine(unpacked, "README.md")).ShouldContain(first);
        JsonNode.Parse(File.ReadAllText(Path.Combine(unpacked, "lineage.json")))!.AsArray()
            .Select(s => s!["step"]!.GetValue<string>())
            .ShouldContain("ingestion");
        File.WriteAllLines(export, File.ReadAllLines(export).Where((_, i) => i != 4));
        CommandResult broken = await CommandLine.Run("audit", "verify", "--export", export);
        (broken.ExitCode, broken.Error.Contains("event 5 is missing", StringComparison.Ordinal)).ShouldBe((1, true));
        (await CommandLine.Succeed(
            ["runs", "list", "--where", $"status = 'Completed' AND id != '{first}'", "--json", .. at])).Json["runs"]!.AsArray().Count
            .ShouldBe(3);
        await CommandLine.Refused(["runs", "list", "--where", "stauts = 'x'", .. at], "no field 'stauts'");
    }

    [Fact]
    public async Task A_server_scores_as_the_command_line_does_and_rewards_trainers()
    {
        using SmallProject project = new();
        string run = (await project.Run()).Json["runId"]!.GetValue<string>();
        string[] at = ["--workspace", project.Workspace];
        await CommandLine.Succeed(["models", "promote", "sample@1", .. at]);
        (string Prompt, string Response)[] texts =
        [
            ("please debug", "clear useful answer"),
            ("please debug", "vague"),
            ("tell me a story", "a long and rambling answer about nothing")
        ];
        string input = Path.Combine(project.Folder, "input.jsonl");
        File.WriteAllLines(input, texts.Select(t => $$"""{"prompt":"{{t.Prompt}}","response":"{{t.Response}}"}"""));
        double[] expected =
            [.. (await CommandLine.Succeed(["score", "--model", "sample", "--input", input, "--json", .. at])).Json["scores"]!.AsArray()
                .Select(s => s!["score"]!.GetValue<double>())];
        double steered = (await CommandLine.Succeed([
            "score", "--run", run, "--prompt", texts[0].Prompt, "--response", texts[0].Response, "--steer", "safety=1", "--json", .. at
        ])).Json["scores"]![0]!["score"]!.GetValue<double>();
        string key = (await CommandLine.Succeed(["keys", "create", "trainer", "--scope", "Viewer", .. at])).Output.Trim(),
            admin = (await CommandLine.Succeed(["keys", "create", "ada", "--scope", "Admin", .. at])).Output.Trim();

        await using Member server = await Member.Serve(project.Workspace, "http://0.0.0.0:0");
        Uri url = new(server.Url.Replace("0.0.0.0", "127.0.0.1", StringComparison.Ordinal)
            .Replace("[::]", "127.0.0.1", StringComparison.Ordinal));
        using HttpClient http = new() { BaseAddress = url };
        (await http.PostAsJsonAsync("/api/v1/score", new { }, TestContext.Current.CancellationToken)).StatusCode
            .ShouldBe(HttpStatusCode.Unauthorized);
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);

        JsonNode answer = await Post("/api/v1/score",
            new
            {
                model = "sample@champion",
                items = texts.Select(t => new { prompt = t.Prompt, response = t.Response }),
                pairs = new[] { new { prompt = texts[0].Prompt, chosen = texts[0].Response, rejected = texts[1].Response } }
            });
        answer["version"]!.GetValue<int>().ShouldBe(1);
        answer["scores"]!.AsArray()
            .Select(s => s!["score"]!.GetValue<double>())
            .Zip(expected)
            .ShouldAllBe(p => Math.Abs(p.First - p.Second) < 1e-6 * Math.Max(1, Math.Abs(p.Second)));
        answer["scores"]![0]!["objectives"]!.AsArray()
            .Sum(o => o!["contribution"]!.GetValue<double>())
            .ShouldBe(answer["scores"]![0]!["score"]!.GetValue<double>(), 1e-9);
        answer["pairs"]![0]!["chosenWins"]!.GetValue<bool>().ShouldBe(expected[0] > expected[1]);
        JsonNode steeredAnswer = await Post("/api/v1/score",
            new { run, prompt = texts[0].Prompt, response = texts[0].Response, steer = new[] { "safety=1" }, explain = false });
        steeredAnswer["scores"]![0]!["score"]!.GetValue<double>()
            .ShouldBe(steered, 1e-6 * Math.Max(1, Math.Abs(steered)));

        await ScoresAreThoseOfTheSteps();

        // As OpenRLHF's trainers do: prompt and response in the model's template, the address in --remote_rm_url.
        string[] query = [.. texts.Select(t => Templated(new Message("user", t.Prompt), new Message("assistant", t.Response)))];
        JsonNode reward = await Post("/get_reward?model=sample", new { query, prompts = query, labels = query });
        reward["rewards"]!.AsArray()
            .Select(r => r!.GetValue<double>())
            .Zip(expected)
            .ShouldAllBe(p => Math.Abs(p.First - p.Second) < 1e-6 * Math.Max(1, Math.Abs(p.Second)));
        reward["scores"]!.AsArray().Count.ShouldBe(3);
        reward["extra_logs"]!["safety"]!.AsArray().Count.ShouldBe(3);

        string metrics = await http.GetStringAsync(new Uri("/metrics", UriKind.Relative), TestContext.Current.CancellationToken);
        foreach (string metric in new[] { "armoflow_scores_total", "http_server_request_duration_seconds" }) metrics.ShouldContain(metric);

        using HttpResponseMessage bad = await http.PostAsJsonAsync("/api/v1/score",
            new { model = "sample", items = new[] { new { prompt = "a", response = "" } } }, TestContext.Current.CancellationToken);
        bad.StatusCode.ShouldBe(HttpStatusCode.BadRequest);
        (await bad.Content.ReadAsStringAsync(
            TestContext.Current.CancellationToken)).ShouldContain("item 1: the conversation: an empty response");
        (await Promote()).StatusCode.ShouldBe(HttpStatusCode.Forbidden);
        http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", admin);
        (await Promote()).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await http.GetStringAsync(new Uri("/api/v1/audit?where=actor%3D'key ada'", UriKind.Relative),
            TestContext.Current.CancellationToken)).ShouldContain("model.promoted");
        await server.DisposeAsync();

        // From the features that 'step features' writes, and the run's weights; and as many pairs right as 'step evaluation' counts.
        async Task ScoresAreThoseOfTheSteps()
        {
            string F(string name) => Path.Combine(project.Folder, name);
            foreach (string part in new[] { "regression", "decorrelation", "gating" })
                await CommandLine.Succeed(["artifacts", "get", run, part, "--out", F($"{part}.safetensors"), .. at]);
            await CommandLine.Succeed("step", "features", "--backbone", F("backbone"), "--input", project.Data("benchmark.jsonl"),
                "--kind", "pairs", "--out", F("b.safetensors"));
            JsonNode[] rows = [.. File.ReadLines(project.Data("benchmark.jsonl")).Select(l => JsonNode.Parse(l)!)];
            File.WriteAllLines(F("subsets.txt"), rows.Select(_ => "llmbar-natural"));
            await CommandLine.Succeed("step", "evaluation", "--features", F("b.safetensors"), "--subsets", F("subsets.txt"),
                "--regression", F("regression.safetensors"), "--transform", F("decorrelation.safetensors"), "--gating",
                F("gating.safetensors"), "--out", F("e.json"));
            JsonArray served = (await Post("/api/v1/score",
                new
                {
                    model = "sample@champion",
                    pairs = rows.Select(r => new
                    {
                        prompt = r["prompt"]!.GetValue<string>(),
                        chosen = r["chosen"]!.GetValue<string>(),
                        rejected = r["rejected"]!.GetValue<string>()
                    })
                }))["pairs"]!.AsArray();
            served.Count(p => p!["chosenWins"]!.GetValue<bool>())
                .ShouldBe(JsonNode.Parse(File.ReadAllText(F("e.json")))!["subsets"]!["llmbar-natural"]!["correct"]!.GetValue<int>());

            TrainedModel model = EvaluationConsumer.Model(["helpfulness", "safety", "clarity", "verbosity"], F("regression.safetensors"),
                F("decorrelation.safetensors"), F("gating.safetensors"));
            using SafetensorsFile features = new(F("b.safetensors"));
            float[] embeddings = features.LoadFloats("embeddings"), prompts = features.LoadFloats("prompt_embeddings");
            int d = (int)features.Entry("embeddings").Shape[2];
            for (int i = 0; i < rows.Length; i++)
            {
                foreach ((string side, int at) in new[] { ("chosen", 2 * i), ("rejected", (2 * i) + 1) })
                {
                    double step = model.Explain(embeddings[(at * d)..((at + 1) * d)], prompts[(at * d)..((at + 1) * d)]).Score;
                    served[i]![side]!["score"]!.GetValue<double>()
                        .ShouldBe(step, 1e-4 * Math.Max(1, Math.Abs(step)), "features differ by 1e-5 at most, times β");
                }
            }
        }

        Task<HttpResponseMessage> Promote() => http.PutAsJsonAsync("/api/v1/models/sample/aliases/other", new { version = 1 },
            TestContext.Current.CancellationToken);

        static string Templated(params Message[] turns) => Llama3Template.Render(turns, first: true);

        async Task<JsonNode> Post(string path, object body)
        {
            using HttpResponseMessage response = await http.PostAsJsonAsync(path, body, TestContext.Current.CancellationToken);
            string text = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            response.StatusCode.ShouldBe(HttpStatusCode.OK, text);
            return JsonNode.Parse(text)!;
        }
    }

    [Fact]
    public async Task A_stored_model_is_evaluated_with_the_figures_it_was_made_with_and_falls_below_gates_with_an_alert()
    {
        using SmallProject project = new();
        string[] at = ["--workspace", project.Workspace];
        JsonNode trained = (await project.Run()).Json;
        string evaluation = Path.Combine(project.Folder, "evaluation.yaml");
        File.WriteAllText(evaluation,
            "name: nightly\nmodel: sample\npreferences:\n  - { name: again, files: [data/pairs.jsonl] }\nbenchmark: { files: "
                + "[data/benchmark.jsonl] }\nevaluation: { baselines: [mean] }\npromotion: { minimumScore: 0.1, minimumHeldOut: 0.1 }\n");
        CommandResult held = await CommandLine.Succeed(["run", evaluation, "--json", .. at]);
        held.Json["model"]!.GetValue<string>().ShouldBe("sample@1");
        held.Json["steps"]!.AsArray()
            .Where(s => s!["reused"]!.GetValue<bool>())
            .Select(s => s!["name"]!.GetValue<string>())
            .ShouldBe(["regression", "decorrelation", "gating"]);
        foreach (string scorer in new[] { "gate", "mean" })
        {
            held.Json["metrics"]!["evaluation"]!["scorers"]![scorer]!.ToJsonString()
                .ShouldBe(trained["metrics"]!["evaluation"]!["scorers"]![scorer]!.ToJsonString(), "the same pairs and the same model");
        }
        held.Error.ShouldNotContain("alert");
        File.WriteAllText(evaluation,
            File.ReadAllText(evaluation).Replace("minimumScore: 0.1", "verbosityCorrelation: 0", StringComparison.Ordinal));
        (await CommandLine.Succeed(["run", evaluation, .. at])).Error
            .ShouldContain("alert: sample@1 is below its gates: |correlation of the final score with verbosity|");
        JsonNode shown = (await CommandLine.Succeed(["models", "show", "sample", "--json", .. at])).Json;
        shown["evaluations"]!.AsArray().Select(e => e!["holds"]!.GetValue<bool>()).ShouldBe([false, true]);
        shown["alerts"]!.AsArray().ShouldHaveSingleItem();
        shown["versions"]!.AsArray().ShouldHaveSingleItem("an evaluation makes no version");
        (await CommandLine.Succeed(["models", "show", "sample", .. at])).Output.ShouldContain("is below its gates");

        File.AppendAllText(evaluation, "gating: { steps: 3 }\n");
        await CommandLine.Refused(["run", evaluation, .. at], "evaluation.yaml line 8", "'gating' beside 'model'");
        File.WriteAllText(evaluation, "model: sample\n");
        await CommandLine.Refused(["run", evaluation, .. at], "neither 'benchmark' nor 'preferences'");
        File.WriteAllText(evaluation, "model: simple\nbenchmark: { files: [data/benchmark.jsonl] }\n");
        await CommandLine.Refused(["run", evaluation, .. at], "no model 'simple'");
    }

    [Fact]
    public async Task What_is_forgotten_is_left_out_and_what_nothing_keeps_is_collected()
    {
        using SmallProject project = new();
        string[] at = ["--workspace", project.Workspace];
        JsonNode first = (await project.Run()).Json;
        JsonArray messages = JsonNode.Parse(File.ReadLines(project.Data("ratings.jsonl")).First())!["messages"]!.AsArray();
        string prompt = messages[0]!["content"]!.GetValue<string>(), response = messages[1]!["content"]!.GetValue<string>();
        string[] which = ["forget", "conversation", "--prompt", prompt, "--response", response];
        JsonNode plan = (await CommandLine.Succeed([.. which, "--dry-run", "--json", .. at])).Json;
        plan["stays"]!.AsArray().ShouldContain(s => s!.GetValue<string>().Contains("sample@1"));
        await CommandLine.Refused([.. which, "--reason", "asked to", .. at], "cannot be taken back", "--yes");
        (await CommandLine.Succeed(["forget", "list", "--json", .. at])).Json.AsArray().ShouldBeEmpty("a plan does nothing");
        JsonNode forgotten = (await CommandLine.Succeed(["forget", "conversation", "--prompt", prompt, "--response", response, "--reason",
            "asked to", "--yes", "--json", .. at])).Json;
        forgotten["usedBy"]![0]!["model"]!.GetValue<string>().ShouldBe("sample");
        string id = forgotten["exclusion"]!["value"]!.GetValue<string>();
        (await CommandLine.Succeed(["lineage", "--conversation", id, .. at])).Output.ShouldContain("sample@1");
        string before = first["artifacts"]!["conversations"]!["sha256"]!.GetValue<string>(),
            conversations = Path.Combine(project.Folder, "conversations.parquet");
        JsonNode redacted = (await CommandLine.Succeed(["runs", "show", first["runId"]!.GetValue<string>(), "--json", .. at])).Json;
        string now = redacted["artifacts"]!["conversations"]!["sha256"]!.GetValue<string>();
        now.ShouldNotBe(before);
        (await CommandLine.Succeed(["lineage", now, "--json", .. at])).Json[0]!["redacted"]![before]!.GetValue<string>().ShouldBe(now);
        await CommandLine.Succeed(["artifacts", "get", first["runId"]!.GetValue<string>(), "conversations", "--out", conversations,
            .. at]);
        JsonNode second = (await project.Run()).Json;
        (Kept(second), Kept(first)).ShouldBe((Kept(first) - 1, Kept(first)));
        second["steps"]![0]!["detail"]!.GetValue<string>().ShouldContain("1 forgotten");
        (await CommandLine.Succeed(["lineage", "--conversation", id, "--json", .. at])).Json
            .AsArray()
            .ShouldHaveSingleItem("the second version was made without it");
        await CommandLine.Refused(["forget", "source", "judge", "--reason", "why not", "--retrain", .. at], "--retrain needs a server");
        await CommandLine.Refused(["forget", "conversation", "x", "--reason", "why not", .. at], "hex digits");

        string gone = first["artifacts"]!["regression"]!["sha256"]!.GetValue<string>();
        await CommandLine.Succeed(["holds", "put", $"run/{first["runId"]}", "--reason", "a complaint", .. at]);
        (await CommandLine.Succeed(
            ["gc", "--dry-run", "--older-than", "0", "--keep-last", "1", "--json", .. at])).Json["artifacts"]!.AsArray().Count
            .ShouldBe(0);
        (await CommandLine.Succeed(["holds", "list", .. at])).Output.ShouldContain("a complaint");
        await CommandLine.Succeed(["holds", "release", $"run/{first["runId"]}", .. at]);
        await CommandLine.Refused(["holds", "put", "run/nothing", "--reason", "x", .. at], "expected run/ID or model/NAME");
        (await CommandLine.Succeed(["gc", "--dry-run", "--older-than", "0", "--keep-last", "1", .. at])).Output.ShouldContain("of run");
        JsonNode collected = (await CommandLine.Succeed(["gc", "--older-than", "0", "--keep-last", "1", "--json", .. at])).Json;
        collected["artifacts"]!.AsArray().Select(a => a!["sha256"]!.GetValue<string>()).ShouldContain(gone);
        (await CommandLine.Succeed(
            ["score", "--model", "sample@2", "--prompt", "please debug", "--response", "clear answer", .. at])).ExitCode.ShouldBe(0,
            "what is kept still works");
        string copy = project.Data("under-another-name.jsonl");
        File.Copy(project.Data("pairs.jsonl"), copy);
        await CommandLine.Succeed(["forget", "source", "annotators", "--reason", "licence withdrawn", "--yes", .. at]);
        await project.Refused("nothing is left to read", "source annotators was forgotten on");
        project.Edit("annotators", "volunteers");
        project.Edit("data/pairs.jsonl", "data/under-another-name.jsonl");
        await project.Refused("was forgotten on", "source/annotators");
        await CommandLine.Succeed(["forget", "undo", "source", "annotators", "--reason", "settled", .. at]);
        await CommandLine.Refused(["forget", "undo", "source", "annotators", "--reason", "again", .. at], "is not forgotten");
        (await CommandLine.Succeed(["audit", "query", "--where", "action IN ('data.forgotten','hold.put','hold.released','gc.collected')",
            "--json", .. at])).Json["events"]!.AsArray().Count.ShouldBe(5);

        static int Kept(JsonNode run) => run["metrics"]!["ingestion"]!["sources"]![0]!["kept"]!.GetValue<int>();
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
        project.Append("pairs.jsonl",
            File.ReadLines(project.Data("pairs.jsonl")).First().Replace("please", "kindly", StringComparison.Ordinal));
        CommandResult differs = await CommandLine.Run(["runs", "reproduce", run, "--json", .. at]);
        (differs.ExitCode, differs.Json["identical"]!.GetValue<bool>(), differs.Json["firstDifference"]!.GetValue<string>()).ShouldBe((1,
            false, "ingestion"));
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
        project.Edit("objectives: [",
            "retrain: { newRows: 50, debounceSeconds: 0 }\npromotion: { automatic: champion, minimumHeldOut: 0.2 }\nobjectives: [");
        await CommandLine.Refused(["run", project.Spec, .. at], "no data set 'judge'");
        (await CommandLine.Succeed(
            ["datasets", "add", "judge", project.Data("first.jsonl"), .. at])).Error.ShouldContain("version 1 of judge");
        (await CommandLine.Succeed(["datasets", "add", "judge", project.Data("first.jsonl"), .. at])).Error.ShouldContain("there already");
        JsonNode first = (await project.Run()).Json;
        first["metrics"]!["ingestion"]!["sources"]![0]!["rowsRead"]!.GetValue<int>().ShouldBe(500);

        await using Member server = await Member.Serve(project.Workspace);
        string url = server.Url;
        (await CommandLine.Succeed("policies", "add", "retrain", project.Spec, "--server", url)).Error.ShouldContain("50 new rows");
        await CommandLine.Succeed("datasets", "add", "judge", project.Data("later.jsonl"), "--server", url);
        (await CommandLine.Succeed("datasets", "list", "--server", url)).Output.ShouldContain("judge");
        JsonNode? second = null;
        for (long start = Stopwatch.GetTimestamp(); second is null; await Task.Delay(500, TestContext.Current.CancellationToken))
        {
            Stopwatch.GetElapsedTime(start).ShouldBeLessThan(TimeSpan.FromMinutes(3));
            second = (await CommandLine.Succeed("runs", "list", "--status", "Completed", "--server", url, "--json")).Json["runs"]!.AsArray()
                .FirstOrDefault(r => r!["trigger"] is not null);
        }
        second["trigger"]!.GetValue<string>().ShouldBe("policy retrain: 100 new rows in judge@2");
        second["metrics"]!["ingestion"]!["sources"]![0]!["rowsRead"]!.GetValue<int>().ShouldBe(600);
        second["steps"]!.AsArray().Single(s => s!["name"]!.GetValue<string>() == "features")!["detail"]!.GetValue<string>()
            .ShouldStartWith("100 conversations extracted");
        // Each of the two was promoted by its spec's rule as it was made.
        JsonArray decided = [];
        for (long start = Stopwatch.GetTimestamp(); decided.Count < 2; await Task.Delay(200, TestContext.Current.CancellationToken))
        {
            Stopwatch.GetElapsedTime(start).ShouldBeLessThan(TimeSpan.FromMinutes(1));
            decided = (await CommandLine.Succeed("audit", "query", "--where", "action = 'model.promoted' AND actor = 'armoflow'",
                "--server", url, "--json")).Json["events"]!.AsArray();
        }
        (await CommandLine.Succeed("models", "list", "--server", url, "--json")).Json
            .AsArray()
            .Single()!["aliases"]!["champion"]!.GetValue<int>()
            .ShouldBe(2);
        // What the dashboard draws is there, but for what tells of trouble and of scoring, of which there was none, and of
        // RabbitMQ's queues.
        using HttpClient http = new() { BaseAddress = new Uri(url) };
        string metrics = await http.GetStringAsync(new Uri("/metrics", UriKind.Relative), TestContext.Current.CancellationToken);
        string[] drawn = [.. Regex.Matches(File.ReadAllText(Path.Combine(HouseTests.Root(), "deploy", "grafana-dashboard.json")),
            "(armoflow|http_server)_[a-z_]+")
            .Select(m => m.Value)
            .Distinct()];
        drawn.Length.ShouldBeGreaterThan(8);
        foreach (string metric in drawn.Except([
            "armoflow_faults_total", "armoflow_work_lost_total", "armoflow_outbox_orphans_total", "armoflow_scores_total",
            "armoflow_queue_depth"
        ]))
            metrics.ShouldContain(metric + "{");
        (await CommandLine.Succeed("audit", "query", "--where", "action IN ('policy.fired', 'dataset.added')", "--server", url)).Output
            .ShouldContain("judge");
        await server.DisposeAsync();
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
