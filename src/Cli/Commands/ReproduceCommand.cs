using System.CommandLine;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Datasets;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Commands;

/// <summary>What came of doing a run again from its spec and data, with nothing reused.</summary>
/// <param name="RunId">The run.</param>
/// <param name="Identical">True if each artifact has the same bytes.</param>
/// <param name="FirstDifference">The first step whose artifacts differ, or that failed; null if none.</param>
/// <param name="Artifacts">Of that step: name, hash then, hash now.</param>
/// <param name="Error">Why it failed, if it did.</param>
internal sealed record Reproduction(
    Guid RunId,
    bool Identical,
    string? FirstDifference,
    IReadOnlyList<ReproducedArtifact> Artifacts,
    string? Error);

internal sealed record ReproducedArtifact(string Name, string Then, string? Now);

internal static class ReproduceCommand
{
    public static Command Reproduce()
    {
        Argument<Guid> id = Options.Run();
        Option<string> workspace = Options.Workspace();
        Option<bool> json = Options.Json();
        Command command = new("reproduce",
            "Does a run again, with nothing reused, and says whether each artifact has the same bytes, or which step is the first to "
                + "differ (exit code 1).")
        {
            id,
            workspace,
            json
        };
        command.SetAction(async (parsed, cancel) =>
        {
            string folder = parsed.GetRequiredValue(workspace);
            await using WorkspaceClient client = await WorkspaceClient.Open(folder);
            RunDocument run = await client.Find(parsed.GetRequiredValue(id), cancel);
            if (run.Status != RunStatus.Completed) throw new UsageException($"run {run.RunId} is {run.Status}; expected a completed one.");
            // 'auto' settled on a dtype then; another measurement could settle on another.
            RunSpec given = await client.FindSpec(run.RunId, cancel);
            string dtype = RunFigures.Of(run.Metrics).Features?.Dtype ?? given.Backbone.Dtype;
            RunSpec spec = given with { Backbone = given.Backbone with { Dtype = dtype } };
            spec = await client.WithoutForgotten(spec, cancel); // what has been forgotten since is not read again
            string again = Path.Combine(Path.GetFullPath(folder), $"reproduce-{Guid.NewGuid():N}");
            try
            {
                await CopyDatasets(folder, again, spec, cancel);
                Reproduction found = Compare(run, await RunCommands.Embedded(spec, again, cancel));
                if (!found.Identical
                    && (spec.Forgotten ?? spec.ForgottenFiles) is not null)
                    Console.Error.WriteLine("left out, where the run read it: what was forgotten since. See: armoflow forget list.");
                if (parsed.GetValue(json)) Terminal.PrintJson(found);
                else if (found.Identical) Console.Out.WriteLine($"identical: {run.Artifacts.Count} artifacts have the same bytes");
                else
                {
                    Console.Out.WriteLine(
                        $"{found.FirstDifference} is the first step that differs{(found.Error is { } error ? $": {error}" : "")}");
                    foreach (ReproducedArtifact a in found.Artifacts)
                        Console.Out.WriteLine($"  {a.Name}: then {a.Then}, now {a.Now ?? "not there"}");
                }
                return found.Identical ? ExitCodes.Done : ExitCodes.Failed;
            }
            finally { if (Directory.Exists(again)) Directory.Delete(again, recursive: true); }
        });
        return command;
    }

    private static Reproduction Compare(RunDocument then, RunDocument now)
    {
        foreach (string step in StepCatalogue.Names)
        {
            ReproducedArtifact[] differing = [.. then.Artifacts.Where(a => StepCatalogue.MakerOf(a.Key) == step
                && now.Artifacts.GetValueOrDefault(a.Key)?.Sha256 != a.Value.Sha256)
                .Select(a => new ReproducedArtifact(a.Key, a.Value.Sha256, now.Artifacts.GetValueOrDefault(a.Key)?.Sha256))];
            if (differing.Length > 0) return new Reproduction(then.RunId, false, step, differing, now.Error);
        }
        return new Reproduction(then.RunId, true, null, [], null);
    }

    /// <summary>Data sets that the run read, with the same versions: their files in the order in which they came.</summary>
    private static async Task CopyDatasets(string from, string to, RunSpec spec, CancellationToken cancel)
    {
        DatasetReference[] read = [.. DatasetReference.FilesOf(spec)
            .Select(DatasetReference.TryParse)
            .OfType<DatasetReference>()
            .GroupBy(r => r.Name)
            .Select(g => g.MaxBy(r => r.Version)!)];
        if (read.Length == 0) return;
        await EmbeddedHost.Make(to, cancel);
        await using ServiceProvider source = await EmbeddedHost.OpenDatabase(from), target = await EmbeddedHost.OpenDatabase(to);
        foreach (DatasetReference dataset in read)
        {
            foreach (DatasetFile file in await source.GetRequiredService<DatasetStore>().Files(dataset.Name, dataset.Version, cancel))
            {
                await using FileStream content = File.OpenRead(await source.GetRequiredService<ArtifactStore>().Open(file.Sha256, cancel));
                await target.GetRequiredService<DatasetStore>().Add(dataset.Name, file.FileName, content, cancel);
            }
        }
    }
}
