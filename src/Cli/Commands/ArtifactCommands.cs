using System.CommandLine;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Runs;

namespace ArmoFlow.Cli.Commands;

internal static class ArtifactCommands
{
    public static Command Artifacts() => new("artifacts", "Lists and fetches what runs made.") { List(), Get() };

    private static Command List()
    {
        Argument<Guid> id = Options.Run();
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("list", "Lists a run's artifacts.") { id, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            await using IRunClient client = await IRunClient.Open(parsed.GetValue(server), parsed.GetRequiredValue(workspace));
            RunDocument run = await client.Find(parsed.GetRequiredValue(id), cancel);
            if (parsed.GetValue(json)) Terminal.PrintJson(run.Artifacts);
            else RunTables.Artifacts(run);
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Get()
    {
        Argument<Guid> id = Options.Run();
        Argument<string> name = new("name") { Description = "The artifact's name; see: armoflow artifacts list RUN." };
        Option<string> output = new("--out", "-o") { Description = "The file to write; - for standard output.", Required = true };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new("get", "Copies an artifact to a file.") { id, name, output, workspace, server };
        command.SetAction(async (parsed, cancel) =>
        {
            await using IRunClient client = await IRunClient.Open(parsed.GetValue(server), parsed.GetRequiredValue(workspace));
            RunDocument run = await client.Find(parsed.GetRequiredValue(id), cancel);
            string wanted = parsed.GetRequiredValue(name);
            if (!run.Artifacts.TryGetValue(wanted, out ArtifactDocument? artifact))
                throw new UsageException($"run {run.RunId} has no artifact '{wanted}'. It has: {string.Join(", ", run.Artifacts.Keys)}.");
            await Copy(client, artifact.Sha256, parsed.GetRequiredValue(output), cancel);
            Console.Error.WriteLine($"{artifact.Bytes:N0} bytes, sha256 {artifact.Sha256} → {parsed.GetRequiredValue(output)}");
            return ExitCodes.Done;
        });
        return command;
    }

    /// <summary>What goes to standard output is fetched whole, and checked, before its first byte is printed.</summary>
    private static async Task Copy(IRunClient client, string sha256, string path, CancellationToken cancel)
    {
        if (path != "-")
        {
            await client.Download(sha256, path, cancel);
            return;
        }
        string beside = Path.Combine(Path.GetTempPath(), $"armoflow-{Guid.NewGuid():N}");
        try
        {
            await client.Download(sha256, beside, cancel);
            await using FileStream file = File.OpenRead(beside);
            await using Stream output = Console.OpenStandardOutput();
            await file.CopyToAsync(output, cancel);
        }
        finally { File.Delete(beside); }
    }
}
