using System.Globalization;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Runs of one project that differ in the gate's seed: they share every step before it.</summary>
internal static class Seeds
{
    private static readonly SemaphoreSlim One = new(1);
    private static SortedDictionary<string, string>[] _alone = [];

    public static readonly (string, string) ShardTokens = ("ARMOFLOW_SHARD_TOKENS", "9000");

    /// <summary>A copy of the project.</summary>
    public static SmallProject Project() => new(ratings: 500, pairs: 400, gatingSteps: 30);

    /// <summary>What each seed makes when nothing else runs, in one process.</summary>
    public static async Task<SortedDictionary<string, string>[]> Alone(int seeds)
    {
        await One.WaitAsync();
        try { return _alone.Length >= seeds ? _alone : _alone = await Compute(seeds); }
        finally { One.Release(); }
    }

    private static async Task<SortedDictionary<string, string>[]> Compute(int seeds)
    {
        using SmallProject project = Project();
        string url = $"http://127.0.0.1:{FreePorts.Next()}";
        await using Member server = Member.Apart("serving", ["serve", "--urls", url, "--workspace", project.Workspace], ShardTokens);
        await server.Announced;
        SortedDictionary<string, string>[] artifacts = new SortedDictionary<string, string>[seeds];
        for (int seed = 0; seed < seeds; seed++)
            artifacts[seed] = Compared((await CommandLine.Succeed("run", SpecOf(project, seed), "--server", url, "--json")).Json);
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
