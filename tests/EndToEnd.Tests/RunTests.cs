using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using ArmoFlow.Tests;
using Microsoft.Data.Sqlite;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

public class RunTests
{
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(10);

    [Fact]
    public async Task A_run_prints_one_document_and_again_it_reuses_every_step()
    {
        using SmallProject project = new();
        JsonNode first = (await project.Run()).Json;
        first["status"]!.GetValue<string>().ShouldBe("Completed");
        Steps(first).ShouldBe(["ingestion", "features", "regression", "decorrelation", "gating", "evaluation"]);
        Reused(first).ShouldBeEmpty();
        string[] artifacts = [.. first["artifacts"]!.AsObject().Select(a => a.Key)];
        artifacts.ShouldContain("report");
        foreach ((string name, JsonNode? artifact) in first["artifacts"]!.AsObject())
            new FileInfo(artifact!["path"]!.GetValue<string>()).Length.ShouldBe(artifact["bytes"]!.GetValue<long>(), name);
        JsonNode ingestion = first["metrics"]!["ingestion"]!["sources"]![0]!;
        (ingestion["rowsRead"]!.GetValue<int>(), ingestion["kept"]!.GetValue<int>()).ShouldBe((600, 600));
        JsonNode gate = first["metrics"]!["evaluation"]!["scorers"]!["gate"]!, mean = first["metrics"]!["evaluation"]!["scorers"]!["mean"]!;
        gate["heldOutAccuracy"]!.GetValue<double>().ShouldBeGreaterThan(mean["heldOutAccuracy"]!.GetValue<double>());
        string report =
            await File.ReadAllTextAsync(first["artifacts"]!["report"]!["path"]!.GetValue<string>(), TestContext.Current.CancellationToken);
        foreach (string section in new[] { "## Data", "## Regression", "## Verbosity", "## Gate", "## Benchmark", "## Manifest" })
            report.ShouldContain(section);
        await KeepsItsForm(first, project);

        JsonNode again = (await project.Run()).Json;
        Reused(again).ShouldBe(Steps(again));
        Artifacts(again).ShouldBe(Artifacts(first));
    }

    /// <summary>
    /// The document that scripts read, the reports that gates and pages read, and what the keys of steps in the database is made of.
    /// </summary>
    private static async Task KeepsItsForm(JsonNode run, SmallProject project)
    {
        Golden.Check("run.json", Golden.Shape(run));
        JsonObject reports = [];
        foreach ((string name, JsonNode? artifact) in run["artifacts"]!.AsObject())
        {
            string text = await File.ReadAllTextAsync(artifact!["path"]!.GetValue<string>(), TestContext.Current.CancellationToken);
            if (text.StartsWith('{')) reports.Add(name, Golden.Shape(JsonNode.Parse(text)));
        }
        Golden.Check("reports.json", reports);
        JsonObject keys = [];
        string logs =
            (await CommandLine.Succeed("runs", "logs", run["runId"]!.GetValue<string>(), "--workspace", project.Workspace)).Output;
        foreach (Match line in Regex.Matches(logs, "step key [0-9a-f]{64}, version ([0-9]+), parameters (.*)"))
            keys.Add($"{keys.Count + 1}, version {line.Groups[1].Value}", JsonNode.Parse(Golden.WithoutDigests(line.Groups[2].Value)));
        keys.Count.ShouldBe(6);
        Golden.Check("keys.json", keys);
    }

    [Fact]
    public async Task Another_seed_reuses_up_to_decorrelation_and_new_data_extracts_only_new_conversations()
    {
        using SmallProject project = new();
        await project.Run();
        project.Edit("seed: 17", "seed: 18");
        Reused((await project.Run()).Json).ShouldBe(["ingestion", "features", "regression", "decorrelation"]);
        project.Append("ratings.jsonl",
            """{"messages":[{"role":"user","content":"please debug"},"""
                + """{"role":"assistant","content":"clear and useful"}],"helpfulness":0.9,"safety":0.5,"clarity":0.9,"verbosity":0.01}""");
        JsonNode grown = (await project.Run()).Json;
        Reused(grown).ShouldBeEmpty();
        grown["metrics"]!["features"]!["extracted"]!.GetValue<int>().ShouldBe(1);
    }

    [Fact]
    public async Task A_response_whose_prompts_feature_is_lost_is_extracted_again()
    {
        using SmallProject project = new(ratings: 300, pairs: 200, gatingSteps: 50);
        string[] rows = File.ReadAllLines(project.Data("ratings.jsonl"));
        await Extracted("first");
        string shards = Query(project.Workspace, "select group_concat(sha256) from feature_shards")!;
        (await Extracted("second")).ShouldBe(1);
        foreach (string shard in shards.Split(','))
            File.Delete(Path.Combine(project.Workspace, "artifacts", shard[..2], shard));
        int all = int.Parse(
            Query(project.Workspace, "select sum(length(responses)) / 16 from feature_shards")!, CultureInfo.InvariantCulture);
        (await Extracted("second", "third")).ShouldBe(all, "all but the first, and the third");

        async Task<int> Extracted(params string[] answers)
        {
            File.WriteAllLines(project.Data("ratings.jsonl"), [.. rows, .. answers.Select(Row)]);
            return (await project.Run()).Json["metrics"]!["features"]!["extracted"]!.GetValue<int>();
        }

        static string Row(string answer) =>
            $$"""{"messages":[{"role":"user","content":"asked but here"},{"role":"assistant","content":"{{answer}}"}],"""
                + """ "helpfulness":0.9,"safety":0.5,"clarity":0.9,"verbosity":0.01}""";
    }

    /// <summary>Of a size that each of its steps can be caught in.</summary>
    private static SmallProject Slow() => new(ratings: 1500, pairs: 1500, gatingSteps: 400);

    /// <summary>What every disturbed run of it must give.</summary>
    private static readonly Lazy<Task<SortedDictionary<string, string>>> Undisturbed = new(async () =>
    {
        using SmallProject project = Slow();
        return Artifacts((await project.Run()).Json);
    });

    [Theory]
    [InlineData("Ingesting")]
    [InlineData("ExtractingFeatures")]
    [InlineData("FittingRegression")]
    [InlineData("FittingDecorrelation")]
    [InlineData("TrainingGating")]
    [InlineData("Evaluating")]
    public async Task A_run_killed_in_a_step_goes_on_and_ends_with_the_same_bytes(string state)
    {
        using SmallProject project = Slow();
        SortedDictionary<string, string> undisturbed = await Undisturbed.Value;

        using Process process = CommandLine.Start("run", project.Spec, "--workspace", project.Workspace);
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        await UntilInState(project.Workspace, state, process);
        process.Kill();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        State(project.Workspace).ShouldBe(state);

        CommandResult second = await project.Run();
        second.Error.ShouldContain("going on with it");
        Artifacts(second.Json).ShouldBe(undisturbed);
        JsonNode runs = (await CommandLine.Succeed("runs", "list", "--workspace", project.Workspace, "--json")).Json["runs"]!;
        runs.AsArray().Count.ShouldBe(1, "it is the same run");
    }

    [Fact]
    public async Task A_run_is_paused_resumed_cancelled_and_retried_from_another_process()
    {
        using SmallProject project = new(gatingSteps: 1_000_000);
        using Process process = CommandLine.Start("run", project.Spec, "--workspace", project.Workspace, "--json");
        process.BeginErrorReadLine();
        Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await UntilInState(project.Workspace, "TrainingGating", process);
        string id = RunId(project.Workspace);
        await CommandLine.Succeed("runs", "pause", id, "--workspace", project.Workspace);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        (await output).ShouldContain("\"Paused\"");

        using Process resumed = CommandLine.Start("runs", "resume", id, "--workspace", project.Workspace);
        resumed.BeginErrorReadLine();
        resumed.BeginOutputReadLine();
        await UntilInState(project.Workspace, "TrainingGating", resumed);
        await CommandLine.Succeed("runs", "cancel", id, "--workspace", project.Workspace);
        await resumed.WaitForExitAsync(TestContext.Current.CancellationToken);
        resumed.ExitCode.ShouldBe(1);
        State(project.Workspace).ShouldBe("Cancelled");

        await CommandLine.Refused(["runs", "pause", id, "--workspace", project.Workspace], "it is Cancelled");
        await CommandLine.Refused(["runs", "show", Guid.NewGuid().ToString(), "--workspace", project.Workspace], "no run");
    }

    [Fact]
    public async Task A_failed_run_is_retried_from_the_failed_step_after_the_cause_is_mended()
    {
        using SmallProject project = new();
        string shard = Path.Combine(project.Folder, "backbone", "model.safetensors"), aside = shard + ".aside";
        File.Move(shard, aside);
        await project.Refused("model.safetensors");
        File.Move(aside, shard);
        CommandResult retried =
            await CommandLine.Succeed("runs", "retry", RunId(project.Workspace), "--workspace", project.Workspace, "--json");
        retried.Json["status"]!.GetValue<string>().ShouldBe("Completed");
    }

    [Fact]
    public async Task A_workspace_in_use_is_refused_with_a_remedy()
    {
        using SmallProject project = new(gatingSteps: 1_000_000);
        using Process holder = CommandLine.Start("run", project.Spec, "--workspace", project.Workspace);
        holder.BeginErrorReadLine();
        holder.BeginOutputReadLine();
        await UntilInState(project.Workspace, "TrainingGating", holder);
        await project.Refused("in use by another process");
        holder.Kill();
        await holder.WaitForExitAsync(TestContext.Current.CancellationToken);
    }

    internal static string[] Steps(JsonNode run) => [.. run["steps"]!.AsArray().Select(s => s!["name"]!.GetValue<string>())];

    internal static string[] Reused(JsonNode run) =>
        [.. run["steps"]!.AsArray().Where(s => s!["reused"]!.GetValue<bool>()).Select(s => s!["name"]!.GetValue<string>())];

    internal static SortedDictionary<string, string> Artifacts(JsonNode run) =>
        new(run["artifacts"]!.AsObject().ToDictionary(a => a.Key, a => a.Value!["sha256"]!.GetValue<string>()));

    /// <summary>Watches the database until the run is in a state; for features, until the first shard is in.</summary>
    private static async Task UntilInState(string workspace, string state, Process process)
    {
        const string Shards = "select count(*) from feature_shards";
        while (State(workspace) != state || (state == "ExtractingFeatures" && Query(workspace, Shards) is "0"))
        {
            process.HasExited.ShouldBeFalse($"the run ended before {state}; it is {State(workspace)}");
            await Task.Delay(LookInterval);
        }
    }

    private static string? State(string workspace) => Query(workspace, "select current_state from runs");
    private static string RunId(string workspace) => Query(workspace, "select correlation_id from runs")!;

    private static string? Query(string workspace, string sql)
    {
        string database = Path.Combine(workspace, "armoflow.db");
        if (!File.Exists(database)) return null;
        try
        {
            using SqliteConnection connection = new(new SqliteConnectionStringBuilder
            {
                DataSource = database,
                Mode = SqliteOpenMode.ReadWrite,
                Pooling = false
            }.ToString());
            connection.Open();
            using SqliteCommand command = connection.CreateCommand();
            command.CommandText = sql;
            return command.ExecuteScalar()?.ToString();
        }
        catch (SqliteException)
        {
            return null; // the schema is not there yet
        }
    }
}
