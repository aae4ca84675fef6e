using System.CommandLine;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Every command asks a server as it asks a workspace, or says why it cannot.</summary>
public class ClientTests
{
    private const string Server = "--server";

    /// <summary>What each command is asked with, in this order; {run}, {again}, {key} and {file} are what there is by then.</summary>
    private static readonly string[] Calls =
    [
        "run spec.yaml",
        "runs list",
        "runs show {run}",
        "runs watch {run}",
        "runs logs {run} --list",
        "runs compare {run} {again}",
        "runs reproduce {run}",
        "runs retry {run} => 2 it is Completed",
        "runs cancel {run} => 2 it is Completed",
        "runs pause {run} => 2 it is Completed",
        "runs resume {run} => 2 it is Completed",
        "runs faults",
        "runs faults show 1 => 2 no fault",
        "runs faults redeliver all => 2 no open fault",
        "runs faults archive all => 2 no open fault",
        "runs workers",
        "artifacts list {run}",
        "artifacts get {run} report --out report.md",
        "score --run {run} --prompt hello --response there",
        "score --model sample --input data/responses.jsonl --steer safety=*2",
        "models list",
        "models show sample",
        "models promote sample@1",
        "models describe sample@1 --notes first",
        "models backbone sample {folder}/backbone",
        "models policy set sample policy.yaml --reason careful",
        "models policy show sample",
        "models policy remove sample --reason careless",
        "models at 2100-01-01 champion",
        "models rollback sample => 2 nothing",
        "models export --model sample --out exported",
        "audit query",
        "audit verify",
        "audit export --out events.jsonl --rows rows.jsonl",
        "audit head",
        "audit evidence sample --out evidence.zip --prompt hello --response there",
        "lineage {file}",
        "keys create ada --scope Operator",
        "keys list",
        "keys revoke {key}",
        "schedules add nightly spec.yaml --cron @daily",
        "schedules list",
        "schedules pause nightly",
        "schedules resume nightly",
        "schedules history nightly",
        "schedules run-now nightly",
        "schedules remove nightly",
        "datasets add more data/pairs.jsonl",
        "datasets list",
        "datasets show more",
        "datasets withdraw more pairs.jsonl --reason wrong",
        "datasets watch more data",
        "datasets watches",
        "datasets unwatch more data",
        "policies add grown retrain.yaml",
        "policies list",
        "policies pause grown",
        "policies resume grown",
        "policies remove grown",
        "gc --dry-run",
        "gc schedule --cron @weekly",
        "gc policy",
        "gc unschedule",
        "holds put model/sample --reason audit",
        "holds list",
        "holds release model/sample",
        "forget conversation --prompt hello --response there --reason asked --yes",
        "forget list",
        "forget undo conversation --prompt hello --response there --reason mistaken => 2 ",
    ];

    [Fact]
    public void Every_command_takes_a_server_or_says_why_not()
    {
        string[] tried = [.. Calls.Select(PathOf).Distinct()];
        foreach ((string path, Command command) in Commands(CommandTree.Root, ""))
        {
            Option server = command.Options.Single(o => o.Name == Server);
            tried.Contains(path).ShouldBe(!server.Hidden, $"armoflow {path}: is it asked of a server here?");
            if (!server.Hidden) continue;
            string[] errors = [.. CommandTree.Parse([.. path.Split(' '), Server, "http://localhost:1"]).Errors.Select(e => e.Message)];
            errors.ShouldContain(e => e.StartsWith(Server, StringComparison.Ordinal) && e.EndsWith("Leave it out."), path);
        }
    }

    [Fact]
    public async Task Every_command_works_on_a_server()
    {
        using SmallProject project = new();
        Dictionary<string, string> known = await Prepare(project);
        string[] make = ["keys", "create", "me", "--scope", "Admin", "--workspace", project.Workspace];
        string key = (await CommandLine.Succeed(make)).Output.Trim();
        await using Member server = await Member.Serve(project.Workspace);
        string url = server.Url;
        await CommandLine.Refused(["keys", "create", "lasting", Server, url], "make one with: armoflow keys create");
        List<string> wrong = [];
        foreach (string call in Calls)
        {
            string[] parts = call.Split(" => ");
            string asked = known.Aggregate(parts[0], (text, entry) => text.Replace($"{{{entry.Key}}}", entry.Value));
            string[] words = [.. asked.Split(' '), Server, url];
            CommandResult result = words[0] == "keys" || NamesAFile(words)
                ? await CommandLine.RunIn(project.Folder, words, ("ARMOFLOW_KEY", key))
                : await CommandLine.Run(words);
            string expected = parts.Length > 1 ? parts[1] : "0 ";
            bool isAsExpected = result.ExitCode == expected[0] - '0' && result.Error.Contains(expected[2..], StringComparison.Ordinal);
            if (!isAsExpected) wrong.Add($"{asked}: exit code {result.ExitCode}\n{result.Error}");
            if (asked.StartsWith("keys create", StringComparison.Ordinal)) known["key"] = result.Output.Split('_')[1];
            if (asked == "runs list") known["again"] = await Newest(url);
        }
        wrong.ShouldBeEmpty();
    }

    /// <summary>Such a name is read from the folder in which the command is given.</summary>
    private static bool NamesAFile(string[] words) =>
        words[..^1].Any(w => w is "data" or "exported" || w.Contains('/') || Path.HasExtension(w));

    /// <summary>Files that the commands name, and a run in the workspace that will be served.</summary>
    private static async Task<Dictionary<string, string>> Prepare(SmallProject project)
    {
        File.WriteAllText(Path.Combine(project.Folder, "policy.yaml"), "minimumHeldOut: 0.5\n");
        File.WriteAllText(project.Data("responses.jsonl"), """{"prompt": "hello", "response": "there"}""" + "\n");
        JsonNode run = (await project.Run()).Json;
        await CommandLine.Succeed(["datasets", "add", "pairs", project.Data("pairs.jsonl"), "--workspace", project.Workspace]);
        File.WriteAllText(Path.Combine(project.Folder, "retrain.yaml"),
            File.ReadAllText(project.Spec).Replace("data/pairs.jsonl", "dataset:pairs") + "retrain: { newRows: 10 }\n");
        return new Dictionary<string, string>
        {
            ["folder"] = project.Folder,
            ["run"] = run["runId"]!.GetValue<string>(),
            ["file"] = run["artifacts"]!["report"]!["sha256"]!.GetValue<string>(),
        };
    }

    private static async Task<string> Newest(string url) =>
        (await CommandLine.Succeed(["runs", "list", "--json", Server, url])).Json["runs"]![0]!["runId"]!.GetValue<string>();

    /// <summary>Commands that do something, with the words that lead to them.</summary>
    private static IEnumerable<(string Path, Command Command)> Commands(Command at, string path) =>
        at.Subcommands.SelectMany(sub =>
        {
            string below = $"{path} {sub.Name}".Trim();
            return Commands(sub, below).Concat(sub.Action is null ? [] : [(below, sub)]);
        });

    private static string PathOf(string call) =>
        string.Join(' ', Terminal.CommandPath(CommandTree.Parse(call.Split(" => ")[0].Split(' ')).CommandResult));
}
