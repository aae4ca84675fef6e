using System.Diagnostics;
using System.Text.RegularExpressions;
using ArmoFlow.Cli;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>
/// Runs what the tours and the other pages of docs tell their readers to run: every block of bash, in order, in one shell.
/// </summary>
public partial class TourTests(WarmProgram program) : IClassFixture<WarmProgram>
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(8);

    /// <summary>What the other pages take for given: a project of two versions that a server has.</summary>
    private const string Given = """
        armoflow init demo > /dev/null
        cd demo
        for f in ratings pairs benchmark; do head -n 600 data/$f.jsonl > data/few-$f.jsonl; done
        sed -i -e 's|data/\([a-z]*\)\.jsonl|data/few-\1.jsonl|' spec.yaml
        sed -i -e 's/steps: 1500, batchSize: 256, hidden: \[128, 128, 128\]/steps: 150, batchSize: 64, hidden: [32, 32]/' spec.yaml
        armoflow run spec.yaml
        sed -i 's/seed: 17/seed: 18/' spec.yaml
        armoflow run spec.yaml
        armoflow serve &
        until armoflow runs list --server http://localhost:5080 > /dev/null 2>&1; do sleep 1; done

        """;

    [Theory]
    [InlineData("trigger")]
    [InlineData("schedule")]
    [InlineData("audit")]
    public Task A_tour_can_be_taken_as_it_is_written(string tour) => Take(Path.Combine("tours", $"{tour}.md"), "", blocks: 3);

    [Theory]
    [InlineData("models", 2)]
    [InlineData("datasets", 3)]
    [InlineData("schedules", 1)]
    [InlineData("operations", 2)]
    public Task A_page_s_examples_do_what_it_says(string page, int blocks) => Take($"{page}.md", Given, blocks);

    private async Task Take(string page, string before, int blocks)
    {
        string text = await File.ReadAllTextAsync(Path.Combine(HouseTests.Root(), "docs", page), TestContext.Current.CancellationToken),
            folder = Directory.CreateTempSubdirectory("armoflow-tour-").FullName;
        Block().Count(text).ShouldBeGreaterThanOrEqualTo(blocks);
        string address = $"localhost:{FreePorts.Next()}";
        string script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT\n"
            + (before + string.Join('\n', Block().Matches(text).Select(m => m.Groups[1].Value)))
                .Replace("armoflow serve &", $"armoflow serve --urls http://{address} &", StringComparison.Ordinal)
                .Replace("localhost:5080", address, StringComparison.Ordinal);
        try
        {
            string here = Directory.CreateDirectory(Path.Combine(folder, "here")).FullName;
            ProcessStartInfo start =
                new("bash", ["-c", script]) { WorkingDirectory = here, RedirectStandardError = true, RedirectStandardOutput = true };
            start.Environment["PATH"] = $"{program.Folder}:{start.Environment["PATH"]}";
            foreach (string variable in new[] { "ARMOFLOW_WORKSPACE", "ARMOFLOW_URL" }) start.Environment.Remove(variable);
            using Process shell = Process.Start(start)!;
            Task<string> output = shell.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken),
                error = shell.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            using CancellationTokenSource limit = new(Limit);
            try { await shell.WaitForExitAsync(limit.Token); }
            catch (OperationCanceledException) { shell.Kill(entireProcessTree: true); }
            shell.ExitCode.ShouldBe(0, $"{await output}\n{await error}");
        }
        finally { Directory.Delete(folder, recursive: true); }
    }

    [GeneratedRegex("^```bash\n(.*?)^```$", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Block();
}
