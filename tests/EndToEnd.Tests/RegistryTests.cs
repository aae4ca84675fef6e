using System.Text.Json.Nodes;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Gates that decide over an exit code, a backbone that moved, and what an exported model carries with it.</summary>
public class RegistryTests
{
    [Fact]
    public async Task Preferences_that_nothing_explains_end_in_a_first_line_that_says_so_and_in_no_promotion()
    {
        const string FirstLine = "the gate found no signal: ";
        using SmallProject project = new(ratings: 300, pairs: 1000, gatingSteps: 60);
        // Every second pair the other way round: what is preferred has nothing to do with the texts any more.
        string[] swapped = [.. File.ReadLines(project.Data("pairs.jsonl")).Select((line, i) => i % 2 == 0 ? line
            : line.Replace("\"chosen\":", "\"x\":").Replace("\"rejected\":", "\"chosen\":").Replace("\"x\":", "\"rejected\":"))];
        File.WriteAllLines(project.Data("pairs.jsonl"), swapped);
        string[] store = ["--workspace", project.Workspace];
        CommandResult run = await CommandLine.Succeed(["run", project.Spec, .. store]);
        run.Output.ShouldStartWith(FirstLine);
        run.Output.ShouldContain("no signal");
        string id = run.Error.Split('\n').First(l => l.StartsWith("run ")).Split(' ')[1];
        JsonNode shown = (await CommandLine.Succeed(["runs", "show", id, .. store, "--json"])).Json;
        shown["metrics"]!["gating"]!["health"]!["noSignal"]!.GetValue<string>().ShouldStartWith(FirstLine);
        shown["metrics"]!["evaluation"]!["scorers"]!["gate"]!["benchmark"]!["ties"]!.GetValue<int>().ShouldBeGreaterThanOrEqualTo(0);
        (await CommandLine.Succeed(["runs", "show", id, .. store])).Output.ShouldStartWith(FirstLine);
        File.ReadLines(shown["artifacts"]!["report"]!["path"]!.GetValue<string>()).First().ShouldStartWith("**The gate found no signal: ");
        string[] one = ["score", "--run", id, .. store, "--prompt", "please debug", "--response", "clear"];
        (await CommandLine.Succeed(one)).Output.ShouldStartWith(FirstLine);
        (await CommandLine.Succeed([.. one, "--json"])).Json["noSignal"]!.GetValue<string>().ShouldStartWith(FirstLine);
        (await CommandLine.Succeed(["models", "show", "sample", .. store])).Error.ShouldContain($"sample@1: {FirstLine}");

        string exported = Path.Combine(project.Folder, "exported"); // whoever gets the folder has no run to look at
        (await CommandLine.Succeed(["models", "export", "--run", id, "--out", exported, .. store])).Error.ShouldContain(FirstLine);
        (await CommandLine.Succeed("score", "--path", exported, "--prompt", "please debug", "--response", "clear"))
            .Output.ShouldStartWith(FirstLine);

        string[] promote = ["models", "promote", "sample@1", .. store];
        CommandResult refused = await CommandLine.Fails(promote, "refused: 1 of 1 gates do not hold");
        refused.Output.ShouldContain(FirstLine);
        await CommandLine.Succeed([.. promote, "--force", "--reason", "to try the rest of the way"]);
    }

    [Fact]
    public async Task Gates_decide_over_the_exit_code_a_moved_backbone_is_found_and_no_training_text_leaves_with_a_model()
    {
        using SmallProject project = new(ratings: 200, pairs: 200, gatingSteps: 60);
        string[] at = ["--workspace", project.Workspace];
        await CommandLine.Refused(["run", project.Spec, "--fail-below-gates", .. at], "there are no gates");
        File.AppendAllText(project.Spec, "\npromotion: { minimumHeldOut: 0 }\n");
        (await CommandLine.Run(["run", project.Spec, "--fail-below-gates", .. at]))
            .ShouldSatisfyAllConditions(r => r.ExitCode.ShouldBe(0, r.Error), r => r.Error.ShouldContain("✓ held-out accuracy"));
        string evaluation = Path.Combine(project.Folder, "evaluation.yaml");
        await File.WriteAllTextAsync(evaluation,
            "name: nightly\nmodel: sample\nbenchmark: { files: [data/benchmark.jsonl] }\npromotion: { minimumScore: 1 }\n",
            TestContext.Current.CancellationToken);

        string backbone = Path.Combine(project.Folder, "backbone"), moved = Path.Combine(project.Folder, "elsewhere");
        Directory.Move(backbone, moved);
        CommandResult shown = await CommandLine.Succeed(["models", "show", "sample", "--json", .. at]);
        shown.Json["versions"]![0]!["usable"]!.GetValue<bool>().ShouldBeFalse();
        await CommandLine.Refused(["models", "promote", "sample@1", .. at], "cannot be scored with",
            "armoflow models backbone sample@1 PATH");
        await CommandLine.Refused(["models", "backbone", "sample", project.Folder, .. at], "no backbone there");
        await CommandLine.Succeed(["models", "backbone", "sample", moved, .. at]);
        await CommandLine.Succeed(["models", "promote", "sample@1", .. at]);

        CommandResult judged = await CommandLine.Run(["run", evaluation, "--fail-below-gates", "--json", .. at]);
        (judged.ExitCode, judged.Json["gates"]!["holds"]!.GetValue<bool>()).ShouldBe((1, false), judged.Error);
        judged.Json["alerts"]!.AsArray().Single()!["text"]!.GetValue<string>().ShouldContain("below its gates");
        (await CommandLine.Succeed(["runs", "show", judged.Json["runId"]!.GetValue<string>(), .. at])).Output.ShouldContain("alert:");

        string exported = Path.Combine(project.Folder, "exported");
        await CommandLine.Succeed(["models", "export", "--model", "sample", "--out", exported, .. at]);
        await CommandLine.Succeed("score", "--path", exported, "--prompt", "please debug", "--response", "a clear answer");
        string card = await File.ReadAllTextAsync(Path.Combine(exported, "armoflow.json"), TestContext.Current.CancellationToken);
        JsonNode.Parse(card)!["goldenRows"]!.AsArray().Count.ShouldBe(5);
        foreach (string row in File.ReadLines(project.Data("ratings.jsonl")))
        {
            foreach (JsonNode? message in JsonNode.Parse(row)!["messages"]!.AsArray())
                card.ShouldNotContain(message!["content"]!.GetValue<string>());
        }
    }
}
