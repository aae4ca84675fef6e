using ArmoFlow.Cli.Sample;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>The sample project, cut down so that a run takes seconds; each test has a copy of its own.</summary>
internal sealed class SmallProject : IDisposable
{
    public string Folder { get; } = Path.Combine(Directory.CreateTempSubdirectory("armoflow-e2e-").FullName, "project");
    public string Spec => Path.Combine(Folder, "spec.yaml");
    public string Workspace => Path.Combine(Folder, ".armoflow");

    public SmallProject(int ratings = 600, int pairs = 500, int gatingSteps = 150)
    {
        SampleProject.Write(Folder);
        Cut("ratings.jsonl", ratings);
        Cut("pairs.jsonl", pairs);
        Cut("benchmark.jsonl", 60);
        Edit("steps: 1500, batchSize: 256, hidden: [128, 128, 128]", $"steps: {gatingSteps}, batchSize: 64, hidden: [32, 32]");
    }

    public string Data(string name) => Path.Combine(Folder, "data", name);

    public void Edit(string from, string to)
    {
        string text = File.ReadAllText(Spec);
        if (!text.Contains(from, StringComparison.Ordinal)) throw new InvalidOperationException($"the spec does not hold '{from}'");
        File.WriteAllText(Spec, text.Replace(from, to, StringComparison.Ordinal));
    }

    public void Append(string data, string line) => File.AppendAllText(Data(data), line + "\n");

    public Task<CommandResult> Run(params string[] more) => CommandLine.Succeed(["run", Spec, "--workspace", Workspace, "--json", .. more]);

    public Task<CommandResult> Refused(params string[] words) => CommandLine.Refused(["run", Spec, "--workspace", Workspace], words);

    private void Cut(string data, int lines) => File.WriteAllLines(Data(data), [.. File.ReadLines(Data(data)).Take(lines)]);

    public void Dispose() => Directory.Delete(Path.GetDirectoryName(Folder)!, recursive: true);
}
