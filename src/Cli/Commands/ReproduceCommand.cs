using System.CommandLine;
using ArmoFlow.Cli.Workspaces;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.RewardModel.Tensors;

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
        Command command = new("reproduce",
            "Does a run again, with nothing reused, and says whether each artifact has the same bytes, or which step is the first to "
                + "differ (exit code 1). The work is done on this machine, also for a server's run: its files and backbone must be here.")
        {
            id,
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            RunDocument run = await client.FindRun(parsed.GetRequiredValue(id), cancel);
            if (run.Status != RunStatus.Completed) throw new UsageException($"run {run.RunId} is {run.Status}; expected a completed one.");
            // What has been forgotten since is not read again.
            RunSpec given = await client.FindSpec(run.RunId, withoutForgotten: true, cancel);
            // 'auto' settled on a dtype then; another measurement could settle on another.
            string dtype = RunFigures.Of(run.Metrics).Features?.Dtype ?? given.Backbone.Dtype;
            RunSpec spec = given with { Backbone = given.Backbone with { Dtype = dtype } };
            Reproduction found = Compare(run, await Again(client, spec, ScratchIn(parsed), cancel));
            if (!found.Identical && (spec.Forgotten ?? spec.ForgottenFiles) is not null)
                Console.Error.WriteLine("left out, where the run read it: what was forgotten since. See: armoflow forget list.");
            if (parsed.WantsJson()) Terminal.PrintJson(found);
            else Print(found, run.Artifacts.Count);
            return found.Identical ? ExitCodes.Done : ExitCodes.Failed;
        });
    }

    /// <summary>A workspace of its own: in the one that has the run, or beside what is temporary where a server has it.</summary>
    private static string ScratchIn(ParseResult parsed)
    {
        string place = parsed.ServerAddress() is null ? Path.GetFullPath(parsed.WorkspaceFolder()) : Path.GetTempPath();
        return Path.Combine(place, $"reproduce-{Guid.NewGuid():N}");
    }

    private static async Task<RunDocument> Again(IArmoFlowClient client, RunSpec spec, string scratch, CancellationToken cancel)
    {
        try
        {
            await CopyDatasets(client, scratch, spec, cancel);
            return await EmbeddedRun.ToEnd(spec, scratch, cancel);
        }
        finally { if (Directory.Exists(scratch)) Directory.Delete(scratch, recursive: true); }
    }

    private static void Print(Reproduction found, int artifacts)
    {
        if (found.Identical)
        {
            Console.Out.WriteLine($"identical: {artifacts} artifacts have the same bytes");
            return;
        }
        Console.Out.WriteLine(
            $"{found.FirstDifference} is the first step that differs{(found.Error is { } error ? $": {error}" : "")}");
        foreach (ReproducedArtifact a in found.Artifacts)
            Console.Out.WriteLine($"  {a.Name}: then {a.Then}, now {a.Now ?? "not there"}");
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
    private static async Task CopyDatasets(IArmoFlowClient from, string to, RunSpec spec, CancellationToken cancel)
    {
        DatasetReference[] read = [.. DatasetReference.FilesOf(spec)
            .Select(DatasetReference.TryParse)
            .OfType<DatasetReference>()
            .GroupBy(r => r.Name)
            .Select(g => g.MaxBy(r => r.Version)!)];
        if (read.Length == 0) return;
        await using WorkspaceClient target = await WorkspaceClient.OpenOrMake(to, cancel);
        foreach (DatasetReference dataset in read)
        {
            foreach (DatasetFileDocument file in await from.DatasetFiles(dataset.Name, dataset.Version, cancel))
            {
                string path = Path.Combine(to, file.Sha256);
                await AtomicFile.Write(path, stream => from.CopyArtifact(file.Sha256, stream, cancel));
                await using (FileStream content = File.OpenRead(path)) await target.AddFile(dataset.Name, file.FileName, content, cancel);
                File.Delete(path);
            }
        }
    }
}
