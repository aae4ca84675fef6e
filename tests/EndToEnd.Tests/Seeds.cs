using System.Globalization;
using System.Text.Json.Nodes;
using Shouldly;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Runs of one project that differ in the gate's seed: they share every step before it.</summary>
internal static class Seeds
{
    public static readonly (string, string) ShardTokens = ("ARMOFLOW_SHARD_TOKENS", "9000");

    /// <summary>What each seed makes when nothing else runs, in one process.</summary>
    public static async Task<SortedDictionary<string, string>[]> Alone(SmallProject project, int seeds)
    {
        SortedDictionary<string, string>[] artifacts = new SortedDictionary<string, string>[seeds];
        for (int seed = 0; seed < seeds; seed++)
        {
            CommandResult run =
                await CommandLine.Run(["run", SpecOf(project, seed), "--workspace", project.Workspace, "--json"], ShardTokens);
            run.ExitCode.ShouldBe(0, run.Error);
            artifacts[seed] = Compared(run.Json);
        }
        return artifacts;
    }

    /// <summary>A spec whose steps have keys of their own in each round, by settings that change no bytes of what is compared.</summary>
    public static string SpecOf(SmallProject project, int seed, int round = 0)
    {
        string path = Path.Combine(project.Folder, $"seed-{seed}.yaml");
        string dropped = ((round + 1) / 1000.0).ToString(CultureInfo.InvariantCulture);
        string text = File.ReadAllText(project.Spec)
            .Replace("seed: 17", $"seed: {seed}", StringComparison.Ordinal)
            .Replace("maxTokens: 512", $"maxTokens: {512 + round}", StringComparison.Ordinal)
            .Replace("format: armorm-ratings", $"format: armorm-ratings, maxDroppedShare: {dropped}", StringComparison.Ordinal);
        File.WriteAllText(path, text);
        return path;
    }

    /// <summary>All artifacts but those that name the limit on tokens, which differs from round to round.</summary>
    public static SortedDictionary<string, string> Compared(JsonNode run)
    {
        SortedDictionary<string, string> artifacts = RunTests.Artifacts(run);
        foreach (string name in new[] { "features-report", "evaluation", "report" }) artifacts.Remove(name);
        return artifacts;
    }
}
