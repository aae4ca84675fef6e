using System.CommandLine;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Cli.Commands;

internal static class ArtifactCommands
{
    public static Command Artifacts() => new("artifacts", "Lists and fetches what runs made.") { List(), Get() };

    private static Command List()
    {
        Argument<Guid> id = Options.Run();
        Command command = new("list", "Lists a run's artifacts.") { id };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            RunDocument run = await client.FindRun(parsed.GetRequiredValue(id), cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(run.Artifacts);
            else RunTables.Artifacts(run);
            return ExitCodes.Done;
        });
    }

    private static Command Get()
    {
        Argument<Guid> id = Options.Run();
        Argument<string> name = new("name") { Description = "The artifact's name; see: armoflow artifacts list RUN." };
        Option<string> output = new("--out", "-o") { Description = "The file to write; - for standard output.", Required = true };
        Command command = new("get", "Copies an artifact to a file.") { id, name, output };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            RunDocument run = await client.FindRun(parsed.GetRequiredValue(id), cancel);
            string wanted = parsed.GetRequiredValue(name);
            if (!run.Artifacts.TryGetValue(wanted, out ArtifactDocument? artifact))
                throw new UsageException($"run {run.RunId} has no artifact '{wanted}'. It has: {string.Join(", ", run.Artifacts.Keys)}.");
            await Copy(client, artifact.Sha256, parsed.GetRequiredValue(output), cancel);
            Console.Error.WriteLine($"{artifact.Bytes:N0} bytes, sha256 {artifact.Sha256} → {parsed.GetRequiredValue(output)}");
            return ExitCodes.Done;
        }, printsJson: false);
    }

    /// <summary>What goes to standard output is fetched whole, and checked, before its first byte is printed.</summary>
    private static async Task Copy(IArmoFlowClient client, string sha256, string path, CancellationToken cancel)
    {
        if (path != "-")
        {
            await AtomicFile.Write(path, stream => client.CopyArtifact(sha256, stream, cancel));
            return;
        }
        string beside = Path.Combine(Path.GetTempPath(), $"armoflow-{Guid.NewGuid():N}");
        try
        {
            await AtomicFile.Write(beside, stream => client.CopyArtifact(sha256, stream, cancel));
            await using FileStream file = File.OpenRead(beside);
            await using Stream output = Console.OpenStandardOutput();
            await file.CopyToAsync(output, cancel);
        }
        finally { File.Delete(beside); }
    }
}
