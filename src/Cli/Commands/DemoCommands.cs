using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using ArmoFlow.Cli.Sample;
using ArmoFlow.Cli.Workspaces;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.Cli.Commands;

internal static class DemoCommands
{
    public static Command Init()
    {
        Argument<string> folder = new("dir") { Description = "A new folder." };
        Command command =
            new("init", "Writes a sample project: spec, data with planted truth, and a small random-weight backbone.") { folder };
        command.SetAction(parsed =>
        {
            SampleProject.Write(parsed.GetRequiredValue(folder));
            Console.Error.WriteLine($"wrote {parsed.GetRequiredValue(folder)}; next: armoflow run "
                + $"{Path.Combine(parsed.GetRequiredValue(folder), "spec.yaml")}");
            return ExitCodes.Done;
        });
        return command;
    }

    public static Command Demo()
    {
        Option<string> output =
            new("--out") { Description = "Folder of the project and its workspace.", DefaultValueFactory = _ => "armoflow-demo" };
        Command command = new("demo", "Sample project → full run in one process → report, in under two minutes on two cores.")
        {
            output,
            ClientOptions.Json
        };
        command.SetAction(async (parsed, cancel) =>
        {
            string folder = parsed.GetRequiredValue(output), spec = Path.Combine(folder, "spec.yaml"),
                workspace = Path.Combine(folder, ".armoflow");
            long start = Stopwatch.GetTimestamp();
            if (File.Exists(spec)) Console.Error.WriteLine($"using the project in {folder}");
            else
            {
                SampleProject.Write(folder);
                Console.Error.WriteLine(
                    $"wrote a sample project to {folder}: generated conversations with planted truth, a backbone of random weights");
            }
            RunDocument run = await EmbeddedRun.ToEnd(SpecReader.Load(spec), workspace, cancel);
            int code = RunCommands.Report(run, parsed.WantsJson());
            if (code != ExitCodes.Done || run.Status != RunStatus.Completed) return code;
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"done in {Stopwatch.GetElapsedTime(start).TotalSeconds:f0} s"));
            if (!parsed.WantsJson()) await ExplainOne(run, folder, spec, workspace, cancel);
            return code;
        });
        return command;
    }

    private static async Task ExplainOne(RunDocument run, string folder, string spec, string workspace, CancellationToken cancel)
    {
        BenchmarkPair? pair = null;
        await foreach (SourceRow row in RowReader.Read(Path.Combine(folder, "data", "benchmark.jsonl"), "benchmark.jsonl", cancel))
        {
            pair = PairFormats.RewardBench(row);
            break;
        }
        await using WorkspaceClient client = await WorkspaceClient.Open(workspace);
        ScoreAnswer answer =
            await client.Score(new ScoreRequest { Run = run.RunId, Items = [Input(pair!.Chosen), Input(pair.Rejected)] }, cancel);
        Console.Out.WriteLine($"\nOne response explained ({pair.Subset}):\n  prompt:   {Short(pair.Chosen.Prompt.Last())}\n  response: "
            + $"{Short(pair.Chosen.Response)}");
        ScoreCommands.Print(answer.Scores[0]);
        Console.Out.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"The rejected response to the same prompt scores {answer.Scores[1].Score:f3}."));
        Console.Out.WriteLine($"""

            Next:
              ./armoflow runs show {run.RunId} --workspace {workspace}
              ./armoflow score --run {run.RunId} --workspace {workspace} \
                --prompt "please debug this function" --response "clear concise useful answer"
              ./armoflow artifacts get {run.RunId} report --workspace {workspace} --out report.md
              ./armoflow models export --run {run.RunId} --workspace {workspace} --out exported-model
              edit {spec} (say, gating.seed) and: ./armoflow run {spec} --workspace {workspace}
            """);
    }

    private static ScoreInput Input(Conversation conversation) => ScoreCommands.Input(conversation);

    private static string Short(Message message) => message.Content.Length <= 100 ? message.Content : message.Content[..100] + " …";
}
