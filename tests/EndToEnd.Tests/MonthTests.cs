using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Alerts;
using ArmoFlow.Orchestrator.Api;
using ArmoFlow.Orchestrator.Datasets;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Audit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Time.Testing;
using Shouldly;
using Xunit;
using static ArmoFlow.EndToEnd.Tests.Waiting;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// A month of a team's work by a clock that the test turns, on RabbitMQ and Postgres, with a worker in a process of its own: data
/// arrives daily by upload, folder and message, a policy retrains, nights evaluate, people promote and roll back, a webhook is
/// away for a while. In the end an auditor's ten questions (docs/audit.md) are answered by one command each.
/// </summary>
public class MonthTests(FaultBench bench, ITestOutputHelper output)
{
    private const int Days = 30, InitialRows = 300, RowsADay = 10, RowsThatRetrain = 40;

    [Fact]
    public async Task A_month_leaves_an_auditor_no_question_open()
    {
        await bench.Require();
        await using Cluster cluster = await Cluster.Make(bench.Servers, "month");
        using SmallProject project = new(ratings: InitialRows + (Days * RowsADay), pairs: 400);
        string arrivals = Directory.CreateDirectory(Path.Combine(project.Folder, "arrivals")).FullName;
        string[] rows = File.ReadAllLines(project.Data("ratings.jsonl"));
        File.WriteAllLines(project.Data("initial.jsonl"), rows[..InitialRows]);
        project.Edit("files: [data/ratings.jsonl]", "files: ['dataset:judge']");
        project.Edit("objectives: [",
            $"promotion: {{ minimumHeldOut: 0.8 }}\n"
            + $"retrain: {{ newRows: {RowsThatRetrain}, atMostEveryHours: 90, debounceSeconds: 3600 }}\nobjectives: [");

        bool isReceiverDown = false;
        List<string> told = [];
        await using WebApplication receiver = await Receiver(body =>
        {
            if (!isReceiverDown) lock (told) told.Add(body);
            return isReceiverDown ? StatusCodes.Status502BadGateway : StatusCodes.Status200OK;
        });
        DateTimeOffset start = new(DateTimeOffset.UtcNow.UtcDateTime.Date.AddDays(-Days - 1), TimeSpan.Zero);
        FakeTimeProvider clock = new(start);
        await using WebApplication orchestrator = await Orchestrator(cluster, clock);
        string url = orchestrator.Urls.Single();
        await cluster.Worker();
        AccessKeyStore keys = orchestrator.Services.GetRequiredService<AccessKeyStore>();
        using HttpClient ada = Client(url, await Key("ada")),
            grace = Client(url, await Key("grace"));
        async Task<string> Key(string name) =>
            (await keys.Create(new KeyRequest { Name = name, Scope = Scope.Operator }, default)).Key;

        string Nightly(string gates) =>
            $"name: nightly\nmodel: sample@champion\nbenchmark: {{ files: [data/benchmark.jsonl] }}\npromotion: {{ {gates} }}\nalerts: "
                + $"{{ webhook: '{receiver.Urls.Single()}' }}\n";

        // The first day: data, a model, its promotion, what is to happen from now on by itself.
        await Upload(ada, "initial.jsonl",
            await File.ReadAllBytesAsync(project.Data("initial.jsonl"), TestContext.Current.CancellationToken));
        string first = await Submit(ada, await File.ReadAllTextAsync(project.Spec, TestContext.Current.CancellationToken));
        await Quiet();
        await Promote(ada, 1, "the first");
        await Post(ada, "schedules", new { name = "nightly", cron = "0 2 * * *", spec = Nightly("minimumScore: 0"), overlap = "Skip" });
        await Post(ada, "policies",
            new { name = "retrain", spec = await File.ReadAllTextAsync(project.Spec, TestContext.Current.CancellationToken) });
        await Post(ada, "datasets/judge/watches", new { address = arrivals });
        int refusedVersion = 0, promotedVersion = 0;
        for (int day = 1; day <= Days; day++)
        {
            clock.SetUtcNow(start.AddDays(day).AddHours(1));
            await Arrive(day);
            isReceiverDown = day is 12 or 13;
            if (day == 12)
            {
                await Post(ada, "schedules",
                    new { name = "nightly", cron = "0 2 * * *", spec = Nightly("verbosityCorrelation: 0"), overlap = "Skip" });
            }
            if (day == 14)
            {
                await Post(ada, "schedules",
                    new { name = "nightly", cron = "0 2 * * *", spec = Nightly("minimumScore: 0"), overlap = "Skip" });
            }
            clock.SetUtcNow(start.AddDays(day).AddHours(2).AddSeconds(1));
            await Fire();
            clock.SetUtcNow(start.AddDays(day).AddHours(9));
            if (day == 10)
            {
                // A candidate whose gate has hardly learnt anything.
                await Submit(grace,
                    (await File.ReadAllTextAsync(project.Spec, TestContext.Current.CancellationToken)).Replace("steps: 150", "steps: 1",
                        StringComparison.Ordinal));
                await Quiet();
                refusedVersion = await Newest();
                (await Try(grace, refusedVersion, null)).ShouldBe(HttpStatusCode.Conflict);
            }
            if (day == 15) await Promote(grace, promotedVersion = await Newest(), "trained on two weeks more");
            if (day == 20)
            {
                (await ada.PostAsJsonAsync("api/v1/models/sample/aliases/champion/rollback", new { reason = "complaints from the pilot" },
                    TestContext.Current.CancellationToken)).EnsureSuccessStatusCode();
            }
            clock.SetUtcNow(start.AddDays(day).AddHours(12));
            await orchestrator.Services.GetRequiredService<PolicyRunner>().Look(default);
            await Quiet();
            await Alerts();
        }
        clock.SetUtcNow(start.AddDays(Days + 1));
        output.WriteLine(
            $"{await cluster.Count("select count(*) from runs")} runs, {await cluster.Count("select count(*) from audit_events")} events");
        (await cluster.Count("select count(*) from runs where current_state <> 'Completed'")).ShouldBe(0);
        (await cluster.Count("select count(*) from dataset_files")).ShouldBe(1 + Days, "each day's file once, whichever way it came");
        (await cluster.Count(
            "select count(*) from runs where trigger like 'policy retrain: %'")).ShouldBe(Days * RowsADay / RowsThatRetrain);
        (await cluster.Count("select count(*) from firings where outcome = 'Submitted'")).ShouldBe(Days);
        (await cluster.Count("select count(*) from model_evaluations where holds is not null")).ShouldBe(Days);
        (await cluster.Count("select count(*) from faults")).ShouldBe(0);
        lock (told)
        {
            told.Select(t => JsonNode.Parse(t)!["id"]!.GetValue<long>())
            .Distinct()
            .Count()
            .ShouldBe(2, "the receiver was away on both nights, and has been told of both since");
        }

        // 1. Which version was in production on a day?
        (await Json("models", "at", Day(5), "champion"))[0]!["version"]!.GetValue<int>().ShouldBe(1);
        JsonNode then = (await Json("models", "at", Day(17), "champion"))[0]!;
        then["version"]!.GetValue<int>().ShouldBe(promotedVersion);
        (await Json("models", "at", Day(25), "champion"))[0]!["version"]!.GetValue<int>().ShouldBe(1, "rolled back");
        // 2. Who decided, when, and why?
        (then["decidedBy"]!.GetValue<string>(), then["reason"]!.GetValue<string>()).ShouldBe(("key grace", "trained on two weeks more"));
        (await Events("subject = 'model/sample' AND action IN ('model.promoted','model.forced','model.rolled-back')"))
            .Select(e => (e["actor"]!.GetValue<string>(), e["action"]!.GetValue<string>()))
                .ShouldBe([("key ada", "model.rolled-back"), ("key grace", "model.promoted"), ("key ada", "model.promoted")]);
        // 3. On what evidence?
        JsonNode.Parse(then["evidence"]!.GetValue<string>())!.AsArray().ShouldHaveSingleItem()!["holds"]!.GetValue<bool>().ShouldBeTrue();
        // 4. Was a promotion refused, and by which gate?
        JsonNode refusal = JsonNode.Parse((await Events("action = 'model.refused'")).ShouldHaveSingleItem()["after"]!.GetValue<string>())!;
        (refusal["version"]!.GetValue<int>(), refusal["evidence"]![0]!["gate"]!.GetValue<string>(),
            refusal["evidence"]![0]!["holds"]!.GetValue<bool>()).ShouldBe((refusedVersion, "minimumHeldOut", false));
        // 5. What did it score, when it was made and on every night since?
        JsonNode shown = await Json("models", "show", "sample");
        shown["versions"]!.AsArray()
            .Single(v => v!["version"]!["version"]!.GetValue<int>() == promotedVersion)!["heldOutAccuracy"]!.GetValue<double>()
            .ShouldBeGreaterThan(0.8);
        JsonArray evaluations = shown["evaluations"]!.AsArray();
        evaluations.Count(e => e!["version"]!.GetValue<int>() == promotedVersion).ShouldBe(5, "nights 16 to 20");
        // 6. Did an evaluation fall below its gates, and was anybody told?
        (await Events("action IN ('alert.raised','alert.delivered') AND subject = 'model/sample'"))
            .Select(e => e["action"]!.GetValue<string>())
            .Order()
            .ShouldBe(["alert.delivered", "alert.delivered", "alert.raised", "alert.raised"]);
        shown["alerts"]!.AsArray().ShouldAllBe(a => a!["attempts"]!.GetValue<int>() > 1 && a["deliveredAt"] != null);
        // 7. Which data, parameters and machine made it?
        string run =
            shown["versions"]!.AsArray()
                .Single(v => v!["version"]!["version"]!.GetValue<int>() == promotedVersion)!["version"]!["runId"]!.GetValue<string>();
        string gating = (await Json("artifacts", "list", run))["gating"]!["sha256"]!.GetValue<string>();
        JsonNode[] steps = [.. (await Json("lineage", gating, "--run", run)).AsArray().Select(s => s!)];
        steps.Select(s => s["step"]!.GetValue<string>())
            .Distinct()
            .ShouldBe(["gating", "decorrelation", "regression", "features", "ingestion"], ignoreOrder: true);
        steps.Single(s => s["step"]!.GetValue<string>() == "ingestion")["inputs"]!.AsArray()
            .Count(i => i!["name"]!.GetValue<string>().StartsWith("ratings/judge/", StringComparison.Ordinal))
            .ShouldBeGreaterThan(8);
        steps.ShouldAllBe(s => s["hardware"]!.GetValue<string>().Length > 0 && s["parameters"]!.GetValue<string>().Length > 2);
        // 8. Why was it trained at all?
        (await Json("runs", "show", run))["trigger"]!.GetValue<string>().ShouldStartWith("policy retrain: 40 new rows in judge@");
        // 9. What was made from this file?
        File.WriteAllBytes(Path.Combine(project.Folder, "asked.jsonl"), Encoding.UTF8.GetBytes(RowsOf(1)));
        (await Json("lineage", Path.Combine(project.Folder, "asked.jsonl"), "--down"))
            .AsArray()
            .Count(s => s!["step"]!.GetValue<string>() == "gating")
            .ShouldBeGreaterThan(5, "every retrain since has read it");
        // 10. Has anybody changed the trail?
        (await CommandLine.Succeed("audit", "verify", "--server", url)).Output.ShouldContain("whole");
        (await Events($"subject = 'run/{first}'")).Select(e => e["action"]!.GetValue<string>()).ShouldContain("run.submitted");

        // And all of it for somebody who has neither server nor database, with a score that is asked about.
        string table = Path.Combine(project.Folder, "trail.parquet"), archive = Path.Combine(project.Folder, "evidence.zip"),
            unpacked = Path.Combine(project.Folder, "evidence");
        await CommandLine.Succeed("audit", "export", "--out", table, "--server", url);
        (await CommandLine.Succeed("audit", "verify", "--export", table)).Output.ShouldContain("whole");
        await CommandLine.Succeed("audit", "evidence", $"sample@{promotedVersion}", "--prompt", "please debug", "--response",
            "a clear answer", "--out", archive, "--server", url);
        System.IO.Compression.ZipFile.ExtractToDirectory(archive, unpacked);
        (await Unpacked("score.json"))["model"]!.GetValue<string>().ShouldBe($"sample@{promotedVersion}");
        (await Unpacked("evaluations.json"))["evaluations"]!.AsArray().Count.ShouldBe(5);
        (await CommandLine.Succeed("audit", "verify", "--export", Path.Combine(unpacked, "audit.jsonl"))).Output.ShouldContain("whole");

        async Task<JsonNode> Unpacked(string file) =>
            JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(unpacked, file), TestContext.Current.CancellationToken))!;

        string RowsOf(int day) =>
            string.Concat(rows[(InitialRows + ((day - 1) * RowsADay))..(InitialRows + (day * RowsADay))].Select(r => r + "\n"));
        string Day(int day) => start.AddDays(day).AddHours(15).ToString("O", CultureInfo.InvariantCulture);
        async Task<JsonNode> Json(params string[] command) => (await CommandLine.Succeed([.. command, "--server", url, "--json"])).Json;
        async Task<JsonNode[]> Events(string where) =>
            [.. (await Json("audit", "query", "--where", where))["events"]!.AsArray().Select(e => e!)];
        async Task<int> Newest() => (int)await cluster.Count("select max(version) from model_versions where model = 'sample'");
        Task Quiet() => Eventually(async () =>
            await cluster.Count("select count(*) from runs where current_state not in ('Completed', 'Failed', 'Cancelled')") == 0);

        async Task Arrive(int day)
        {
            string name = $"day-{day:d2}.jsonl";
            if (day % 3 == 0)
            {
                await File.WriteAllTextAsync(Path.Combine(arrivals, name), RowsOf(day));
                File.SetLastWriteTimeUtc(Path.Combine(arrivals, name), clock.GetUtcNow().UtcDateTime.AddMinutes(-1));
                await orchestrator.Services.GetRequiredService<DatasetWatcher>().Look(default);
            }
            else if (day % 3 == 1)
            {
                string elsewhere = Path.Combine(project.Folder, name);
                await File.WriteAllTextAsync(elsewhere, RowsOf(day));
                await cluster.Put("dataset-arrivals", $$"""{"dataset":"judge","address":"{{elsewhere}}"}""", "application/json");
                await Eventually(async () => await cluster.Count("select count(*) from dataset_files") >= 1 + day);
            }
            else await Upload(ada, name, Encoding.UTF8.GetBytes(RowsOf(day)));
        }

        async Task Fire()
        {
            await orchestrator.Services.GetRequiredService<ScheduleRunner>().Fire("nightly", default);
            await Quiet();
            await Alerts();
        }

        async Task Alerts()
        {
            IHostedService[] hosted = [.. orchestrator.Services.GetServices<IHostedService>()];
            await hosted.OfType<Judging>().Single().Round(default);
            await hosted.OfType<AlertDelivery>().Single().Round(default);
        }

        async Task Upload(HttpClient who, string name, byte[] bytes) =>
            (await who.PostAsync($"api/v1/datasets/judge/files?fileName={name}", new ByteArrayContent(bytes))).EnsureSuccessStatusCode();

        async Task Post(HttpClient who, string path, object body)
        {
            using HttpRequestMessage request = new(HttpMethod.Post, $"api/v1/{path}") { Content = JsonContent.Create(body) };
            request.Headers.Add(ApiHeaders.SpecFolder, project.Folder);
            using HttpResponseMessage response = await who.SendAsync(request);
            response.IsSuccessStatusCode.ShouldBeTrue(await response.Content.ReadAsStringAsync());
        }

        async Task<string> Submit(HttpClient who, string spec)
        {
            using HttpRequestMessage request =
                new(HttpMethod.Post, "api/v1/runs") { Content = new StringContent(spec, Encoding.UTF8, "application/yaml") };
            request.Headers.Add(ApiHeaders.SpecFolder, project.Folder);
            using HttpResponseMessage response = await who.SendAsync(request);
            string answer = await response.Content.ReadAsStringAsync();
            response.IsSuccessStatusCode.ShouldBeTrue(answer);
            return JsonNode.Parse(answer)!["runId"]!.GetValue<string>();
        }

        async Task<HttpStatusCode> Try(HttpClient who, int version, string? reason)
        {
            using HttpResponseMessage response = await who.PutAsJsonAsync("api/v1/models/sample/aliases/champion", new { version, reason });
            return response.StatusCode;
        }

        async Task Promote(HttpClient who, int version, string reason) => (await Try(who, version, reason)).ShouldBe(HttpStatusCode.OK);
    }

    /// <summary>An orchestrator in this process, by the test's clock; what its own clocks would do at night, the test asks for.</summary>
    private static async Task<WebApplication> Orchestrator(Cluster cluster, TimeProvider clock)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        builder.Services.AddSingleton(clock);
        ServerHost.Configure(builder.Services, builder.Logging,
            new ServerSettings(cluster.RabbitMq, cluster.Postgres, cluster.Store, TimeSpan.FromMinutes(1)), bus => bus.AddRunSaga());
        builder.Services.AddOrchestrator()
            .AddAccess(new AccessPolicy(IsLoopbackOnly: true))
            .AddRunsApi()
            .AddSingleton(new WebhookOptions("shared with the receiver", AllowsLocal: true));
        WebApplication app = builder.Build();
        app.MapRunsApi();
        Caller.Current = Caller.System;
        await app.StartAsync();
        return app;
    }

    private static async Task<WebApplication> Receiver(Func<string, int> answer)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        WebApplication app = builder.Build();
        app.Run(async context =>
        {
            using StreamReader reader = new(context.Request.Body);
            context.Response.StatusCode = answer(await reader.ReadToEndAsync());
        });
        await app.StartAsync();
        return app;
    }

    private static HttpClient Client(string url, string key)
    {
        HttpClient client = new() { BaseAddress = new Uri(url + "/") };
        client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }
}
