using System.Net;
using System.Text.Json.Nodes;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.RewardModel.Tensors;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Infrastructure;
using Microsoft.EntityFrameworkCore.Migrations;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

public class CommandTests
{
    [Fact]
    public async Task The_demo_shows_that_the_method_works()
    {
        string folder = Path.Combine(Directory.CreateTempSubdirectory("armoflow-demo-").FullName, "demo");
        JsonNode run = (await CommandLine.Succeed("demo", "--out", folder, "--json")).Json;
        foreach (JsonNode? objective in run["metrics"]!["regression"]!["objectives"]!.AsArray())
            objective!["validationR2"]!.GetValue<double>().ShouldBeGreaterThan(0.3);
        JsonArray penalties = run["metrics"]!["decorrelation"]!["objectives"]!.AsArray();
        penalties.Max(p => Math.Abs(p!["before"]!.GetValue<double>()) is < 1 and double before ? before : 0)
            .ShouldBeGreaterThan(0.4, "length bias was planted");
        penalties.ShouldAllBe(p => Math.Abs(p!["after"]!.GetValue<double>()) <= 1e-3);
        JsonNode scorers = run["metrics"]!["evaluation"]!["scorers"]!;
        scorers["gate"]!["heldOutAccuracy"]!.GetValue<double>()
            .ShouldBeGreaterThan(scorers["mean"]!["heldOutAccuracy"]!.GetValue<double>() + 0.1);
        new DirectoryInfo(Path.Combine(folder, "backbone")).EnumerateFiles().Sum(f => f.Length).ShouldBeLessThan(5_000_000);

        CommandResult second = await CommandLine.Succeed("demo", "--out", folder);
        foreach (string part in new[] { "One response explained", "coefficient", "contribution", "Next:", "models export" })
            second.Output.ShouldContain(part);
        Directory.Delete(Path.GetDirectoryName(folder)!, recursive: true);
    }

    [Fact]
    public async Task A_model_scores_explains_steers_and_keeps_its_scores_when_exported()
    {
        using SmallProject project = new();
        string id = (await project.Run()).Json["runId"]!.GetValue<string>(), exported = Path.Combine(project.Folder, "exported");
        string input = Path.Combine(project.Folder, "input.jsonl");
        File.WriteAllLines(input, Enumerable.Range(0, 7).Select(i =>
        {
            string response = string.Join(' ', Enumerable.Repeat("clear useless then", i + 1));
            return $$"""{"prompt":"please debug function {{i}}","response":"{{response}}"}""";
        }));
        string[] score = ["score", "--run", id, "--workspace", project.Workspace, "--input", input, "--json"];
        JsonArray before = (await CommandLine.Succeed(score)).Json["scores"]!.AsArray();
        before.Count.ShouldBe(7);
        foreach (JsonNode? scored in before)
        {
            scored!["objectives"]!.AsArray().Sum(o => o!["contribution"]!.GetValue<double>()).ShouldBe(Score(scored), 1e-9);
            scored["objectives"]!.AsArray().Sum(o => o!["coefficient"]!.GetValue<double>()).ShouldBe(1, 1e-9);
        }
        await CommandLine.Succeed("models", "export", "--run", id, "--workspace", project.Workspace, "--out", exported);
        File.Exists(Path.Combine(exported, "model.safetensors")).ShouldBeFalse("transformers would read it alone, without the head");
        JsonArray after = (await CommandLine.Succeed("score", "--path", exported, "--input", input, "--json")).Json["scores"]!.AsArray();
        for (int i = 0; i < 7; i++) Score(after[i]!).ShouldBe(Score(before[i]!), 1e-6 * Math.Max(1, Math.Abs(Score(before[i]!))));

        JsonNode steered = (await CommandLine.Succeed("score", "--path", exported, "--prompt", "please debug", "--response", "clear",
            "--steer", "safety=1", "--json")).Json["scores"]![0]!;
        steered["objectives"]!.AsArray().Single(o => o!["objective"]!.GetValue<string>() == "safety")!["coefficient"]!.GetValue<double>()
            .ShouldBe(1);
        (await CommandLine.Succeed("score", "--path", exported, "--prompt", "please debug", "--response", "clear")).Output
            .ShouldContain("contribution");
        await CommandLine.Refused(["score", "--path", exported, "--prompt", "a", "--response", "b", "--steer", "saftey=1"],
            "Did you mean 'safety'?");

        File.Copy(Path.Combine(project.Folder, "backbone", "config.json"), Path.Combine(exported, "config.json"), overwrite: true);
        await CommandLine.Refused(["score", "--path", exported, "--prompt", "a", "--response", "b"], "num_objectives");
    }

    [Fact]
    public async Task A_workspace_of_an_older_version_is_brought_up_to_date_and_one_of_a_newer_is_refused()
    {
        using SmallProject project = new();
        string id = (await project.Run()).Json["runId"]!.GetValue<string>();
        using Workspace workspace = new(project.Workspace);
        await using ServiceProvider services =
            new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContext();
        await db.GetService<IMigrator>().MigrateAsync("Oversight", TestContext.Current.CancellationToken);
        // Events of an older version vouch for no rows; those of this one would be broken without theirs.
        await db.Database.ExecuteSqlRawAsync("drop trigger if exists audit_events_stay; drop trigger if exists audit_events_stand; "
            + "delete from audit_events", TestContext.Current.CancellationToken);
        await db.AuditHeads.ExecuteUpdateAsync(set => set.SetProperty(h => h.Sequence, 0).SetProperty(h => h.Hash, AuditHead.Start),
            TestContext.Current.CancellationToken);
        string[] asked = ["runs", "list", "--where", "score >= 0 AND heldout > 0.2", "--json", "--workspace", project.Workspace];
        workspace.TryLock().ShouldBeTrue();
        await CommandLine.Refused(asked, "of an older armoflow, and in use by another process");
        workspace.Dispose();
        (await CommandLine.Succeed(asked)).Json["runs"]!.AsArray().Single()!["runId"]!.GetValue<string>().ShouldBe(id);
        (await CommandLine.Succeed("audit", "verify", "--workspace", project.Workspace))
            .Error.ShouldContain("rows were there before events vouched for rows");

        await db.Database.ExecuteSqlRawAsync(
            "insert into __EFMigrationsHistory (migration_id, product_version) values ('29990101000000_Later', '99.0')",
            TestContext.Current.CancellationToken);
        await CommandLine.Refused(asked, "made by a newer armoflow");
    }

    [Fact]
    public async Task Books_are_listed_shown_compared_and_fetched()
    {
        using SmallProject project = new();
        project.Edit("objectives: [", "tags: [sample]\nobjectives: [");
        string first = (await project.Run()).Json["runId"]!.GetValue<string>();
        project.Edit("seed: 17", "seed: 18");
        string second = (await project.Run()).Json["runId"]!.GetValue<string>();
        (await CommandLine.Succeed("runs", "list", "--workspace", project.Workspace)).Output.ShouldContain(first);
        (await Listed("--status", "Failed")).ShouldBeEmpty();
        (await Listed("--tag", "sample", "--status", "Completed")).ShouldBe([second, first]);
        (await Listed("--tag", "sample", "--status", "Failed")).ShouldBeEmpty();
        (await CommandLine.Succeed("runs", "logs", first, "--workspace", project.Workspace, "--list")).Output.ShouldContain("evaluation");
        (await CommandLine.Succeed("runs", "show", first, "--workspace", project.Workspace)).Output.ShouldContain("held-out R²");
        JsonNode comparison =
            (await CommandLine.Succeed("runs", "compare", first, second, "--workspace", project.Workspace, "--json")).Json;
        comparison["spec"]!.AsArray().Select(d => d!["key"]!.GetValue<string>()).ShouldBe(["gating.seed"]);
        comparison["metrics"]!.AsArray().ShouldNotBeEmpty();
        (await CommandLine.Succeed("artifacts", "list", first, "--workspace", project.Workspace)).Output.ShouldContain("gating-report");
        string report = Path.Combine(project.Folder, "report.md");
        await CommandLine.Succeed("artifacts", "get", first, "report", "--workspace", project.Workspace, "--out", report);
        (await File.ReadAllTextAsync(report, TestContext.Current.CancellationToken)).ShouldStartWith("# sample");
        await CommandLine.Refused(["artifacts", "get", first, "reports", "--workspace", project.Workspace, "--out", report],
            "no artifact 'reports'", "report");
        (await CommandLine.Succeed("runs", "watch", first, "--workspace", project.Workspace, "--json")).Json["status"]!.GetValue<string>()
            .ShouldBe("Completed");

        async Task<string[]> Listed(params string[] filter)
        {
            CommandResult list = await CommandLine.Succeed(["runs", "list", "--workspace", project.Workspace, "--json", .. filter]);
            return [.. list.Json["runs"]!.AsArray().Select(r => r!["runId"]!.GetValue<string>())];
        }
    }

    [Fact]
    public async Task Steps_on_files_give_what_the_run_gives()
    {
        using SmallProject project = new();
        JsonNode run = (await project.Run()).Json;
        string backbone = Path.Combine(project.Folder, "backbone");
        string F(string name) => Path.Combine(project.Folder, name);
        await CommandLine.Succeed("step", "features", "--backbone", backbone, "--input", project.Data("ratings.jsonl"), "--kind",
            "ratings", "--out", F("r.safetensors"), "--report", F("r.json"));
        await CommandLine.Succeed("step", "features", "--backbone", backbone, "--input", project.Data("pairs.jsonl"), "--kind", "pairs",
            "--out", F("p.safetensors"));
        await CommandLine.Succeed("step", "features", "--backbone", backbone, "--input", project.Data("benchmark.jsonl"), "--kind",
            "pairs", "--out", F("b.safetensors"));
        await CommandLine.Succeed("step", "regression", "--features", F("r.safetensors"), "--out", F("w.safetensors"), "--report",
            F("w.json"), "--alphas", "0", "1e-4", "0.001", "0.01", "0.1", "1", "10", "100");
        await CommandLine.Succeed("step", "decorrelation", "--features", F("p.safetensors"), "--regression", F("w.safetensors"),
            "--verbosity", "3", "--out", F("t.safetensors"));
        await CommandLine.Succeed("step", "decorrelation", "--features", F("p.safetensors"), "--regression", F("w.safetensors"),
            "--verbosity", "verbosity", "--out", F("n.safetensors"));
        File.ReadAllBytes(F("n.safetensors")).ShouldBe(File.ReadAllBytes(F("t.safetensors")), "a name and its index are the same");
        await CommandLine.Refused([
            "step", "decorrelation", "--features", F("p.safetensors"), "--regression", F("w.safetensors"), "--verbosity", "wit", "--out",
            F("x.safetensors")
        ],
            "--verbosity wit", "an index from 0 to 3", "helpfulness, safety, clarity, verbosity");
        await CommandLine.Succeed("step", "gating", "--features", F("p.safetensors"), "--regression", F("w.safetensors"), "--transform",
            F("t.safetensors"), "--out", F("g.safetensors"), "--steps", "100", "--batch", "64", "--hidden", "32", "--layers", "2");
        File.WriteAllLines(F("subsets.txt"), Enumerable.Range(0, 60).Select(i => i % 2 == 0 ? "llmbar-natural" : "alpacaeval-easy"));
        await CommandLine.Succeed("step", "evaluation", "--features", F("b.safetensors"), "--subsets", F("subsets.txt"), "--regression",
            F("w.safetensors"), "--transform", F("t.safetensors"), "--gating", F("g.safetensors"), "--out", F("e.json"));

        using SafetensorsFile features = new(F("r.safetensors")), weight = new(F("w.safetensors")), transform = new(F("t.safetensors")),
            gate = new(F("g.safetensors")), pairs = new(F("p.safetensors"));
        features.Entry("embeddings").Shape.ShouldBe([600, 96]);
        features.Entry("labels").Shape.ShouldBe([600, 4]);
        pairs.Entry("embeddings").Shape.ShouldBe([500, 2, 96]);
        pairs.Entry("prompt_embeddings").Shape.ShouldBe([500, 2, 96]);
        transform.Entry("penalties").Shape.ShouldBe([4]);
        gate.Entry("gating.layers.0.weight").Shape.ShouldBe([32, 96]);
        gate.Entry("gating.logit_scale").Shape.ShouldBe([1]);
        using SafetensorsFile trained = new(run["artifacts"]!["regression"]!["path"]!.GetValue<string>());
        float[] ours = weight.LoadFloats("weight"), theirs = trained.LoadFloats("weight");
        float scale = theirs.Max(Math.Abs);
        for (int i = 0; i < ours.Length; i++)
        {
            ours[i].ShouldBe(theirs[i], 1e-2f * scale, "features agree to 1e-5, batched otherwise; the fit amplifies that by its "
                + "condition");
        }
        JsonNode report = JsonNode.Parse(File.ReadAllText(F("w.json")))!;
        for (int o = 0; o < 4; o++)
        {
            report["objectives"]![o]!["alpha"]!.GetValue<double>()
                .ShouldBe(run["metrics"]!["regression"]!["objectives"]![o]!["alpha"]!.GetValue<double>());
        }
        JsonNode result = JsonNode.Parse(File.ReadAllText(F("e.json")))!;
        result["subsets"]!["llmbar-natural"]!["count"]!.GetValue<int>().ShouldBe(30);
        result["score"]!.GetValue<double>()
            .ShouldBe((result["sections"]!["Chat"]!.GetValue<double>() + result["sections"]!["Chat Hard"]!.GetValue<double>()) / 2, 1e-12);
        JsonNode.Parse(File.ReadAllText(F("r.json")))!["leftOut"]!.AsArray().ShouldBeEmpty();
    }

    [Fact]
    public async Task A_line_over_the_limit_is_left_out_and_listed()
    {
        using SmallProject project = new(ratings: 30, pairs: 20);
        string words = string.Join(' ', Enumerable.Repeat("and", 200));
        project.Append("ratings.jsonl",
            $$"""{"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"{{words}}"}],"safety":0.5}""");
        string output = Path.Combine(project.Folder, "f.safetensors"), report = Path.Combine(project.Folder, "f.json");
        await CommandLine.Succeed("step", "features", "--backbone", Path.Combine(project.Folder, "backbone"), "--input",
            project.Data("ratings.jsonl"), "--kind", "ratings", "--out", output, "--max-tokens", "150", "--report", report);
        using SafetensorsFile file = new(output);
        file.Entry("embeddings").Shape[0].ShouldBe(30);
        JsonNode left = JsonNode.Parse(File.ReadAllText(report))!["leftOut"]!.AsArray().Single()!;
        left["line"]!.GetValue<int>().ShouldBe(31);
        left["reason"]!.GetValue<string>().ShouldContain("over the limit of 150");

        project.Edit("maxTokens: 512", "maxTokens: 150");
        JsonNode run = (await project.Run()).Json;
        run["metrics"]!["features"]!["overLimit"]!.GetValue<int>().ShouldBe(1);
        run["metrics"]!["features"]!["ratingsLeftOut"]!.GetValue<int>().ShouldBe(1);
    }

    [Fact]
    public async Task A_server_runs_specs_for_its_clients()
    {
        using SmallProject project = new();
        await using Member server = await Member.Serve(project.Workspace);
        string url = server.Url;
        JsonNode run = (await CommandLine.Succeed("run", project.Spec, "--server", url, "--json")).Json;
        run["status"]!.GetValue<string>().ShouldBe("Completed");
        string id = run["runId"]!.GetValue<string>();
        using HttpClient http = new() { BaseAddress = new Uri(url) };
        JsonNode shown = JsonNode.Parse(await http.GetStringAsync(new Uri($"/api/v1/runs/{id}", UriKind.Relative),
            TestContext.Current.CancellationToken))!;
        shown["artifacts"]!["report"]!["sha256"]!.GetValue<string>().ShouldBe(run["artifacts"]!["report"]!["sha256"]!.GetValue<string>());
        (await CommandLine.Succeed("runs", "list", "--server", url)).Output.ShouldContain(id);
        string report = Path.Combine(project.Folder, "report.md");
        await CommandLine.Succeed("artifacts", "get", id, "report", "--server", url, "--out", report);
        File.ReadAllText(report).ShouldStartWith("# sample");
        await CommandLine.Refused(["runs", "cancel", id, "--server", url], "it is Completed");
        using HttpResponseMessage refused = await http.PostAsync(new Uri("/api/v1/runs", UriKind.Relative), new StringContent("nmae: x"),
            TestContext.Current.CancellationToken);
        refused.StatusCode.ShouldBe(HttpStatusCode.BadRequest);
        refused.Content.Headers.ContentType!.MediaType.ShouldBe("application/problem+json");
        (await refused.Content.ReadAsStringAsync(TestContext.Current.CancellationToken)).ShouldContain("Did you mean");
        using HttpResponseMessage unknown =
            await http.GetAsync(new Uri($"/api/v1/runs/{Guid.NewGuid()}", UriKind.Relative), TestContext.Current.CancellationToken);
        unknown.StatusCode.ShouldBe(HttpStatusCode.NotFound);
        (await http.GetStringAsync(new Uri("/openapi/v1.json", UriKind.Relative), TestContext.Current.CancellationToken))
            .ShouldContain("/api/v1/runs/{id}/events");
        (await http.GetStringAsync(new Uri("/health/live", UriKind.Relative), TestContext.Current.CancellationToken)).ShouldContain("live");
        await server.DisposeAsync();
        await CommandLine.Refused(["runs", "list", "--server", url], "does not answer", "armoflow serve");
    }

    [Fact]
    public async Task The_doctor_finds_what_is_wrong_and_validate_checks_a_spec()
    {
        using SmallProject project = new(ratings: 20, pairs: 20);
        JsonArray well = (await CommandLine.Succeed("doctor", project.Spec, "--json", "--workspace", project.Workspace)).Json.AsArray();
        well.ShouldContain(f => f!["check"]!.GetValue<string>() == "libtorch" && f["ok"]!.GetValue<bool>());
        (await CommandLine.Succeed("spec", "validate", project.Spec)).Output.ShouldContain("the spec is sound");
        File.Delete(Path.Combine(project.Folder, "backbone", "model.safetensors"));
        CommandResult ill = await CommandLine.Run("doctor", project.Spec, "--workspace", project.Workspace);
        ill.ExitCode.ShouldBe(1);
        ill.Output.ShouldContain("model.safetensors");
        project.Edit("format: pairs", "format: peers");
        project.Edit("objectives: [helpfulness,", "objectives: [helpfulnes,");
        await CommandLine.Refused(["spec", "validate", project.Spec], "Did you mean 'pairs'?", "data/ratings.jsonl line 1", "'helpfulness'",
            "Did you mean 'helpfulnes'?");
        File.WriteAllText(project.Data("ratings.jsonl"), "messages,helpfulness\n\"a\",1\n");
        await CommandLine.Refused(["spec", "validate", project.Spec], "not JSON at byte 1");
        await CommandLine.Refused(["runs", "list", "--limit", "0", "--workspace", project.Workspace], "expected at least 1");
        await CommandLine.Refused(["init", project.Folder], "not empty");
        await CommandLine.Succeed("db", "migrate", "--workspace", project.Workspace);
    }

    private static double Score(JsonNode score) => score["score"]!.GetValue<double>();
}
