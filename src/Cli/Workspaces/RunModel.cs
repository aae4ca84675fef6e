using ArmoFlow.Client;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Models;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.Workers.Scoring;

namespace ArmoFlow.Cli.Workspaces;

/// <summary>The model that a run trained, with its backbone, on this machine; its parts lie in a folder that goes with it.</summary>
internal sealed class RunModel : IDisposable
{
    private readonly DirectoryInfo _parts;

    public RunDocument Run { get; }
    public StoredModel Stored { get; }

    private RunModel(DirectoryInfo parts, RunDocument run, StoredModel stored)
    {
        _parts = parts;
        Run = run;
        Stored = stored;
    }

    /// <summary>Fetches a run's model.</summary>
    /// <param name="client">Who has the run.</param>
    /// <param name="id">The run.</param>
    /// <param name="backbone">The folder of its backbone here; null for where the run found it, or where it is said to lie.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="UsageException">The run is not completed.</exception>
    public static async Task<RunModel> Load(IArmoFlowClient client, Guid id, string? backbone, CancellationToken cancel)
    {
        RunDocument run = await client.FindRun(id, cancel);
        if (run.Status != RunStatus.Completed)
        {
            throw new UsageException($"run {id} is {run.Status}; expected a completed one. Finish it with: armoflow runs "
                + $"{(run.HasEnded ? "retry" : "resume")} {id}.");
        }
        RunSpec spec = await client.FindSpec(id, withoutForgotten: false, cancel);
        DirectoryInfo parts = Directory.CreateTempSubdirectory("armoflow-model-");
        try
        {
            StoredModel stored = await StoredModel.Load(spec, Fetch,
                async (recorded, digest) => backbone ?? await Locate(client, recorded, digest, cancel));
            return new RunModel(parts, run, stored);
        }
        catch
        {
            parts.Delete(recursive: true);
            throw;
        }

        async Task<string> Fetch(string name)
        {
            string path = Path.Combine(parts.FullName, name);
            await AtomicFile.Write(path, stream => client.CopyArtifact(run.Artifacts[name].Sha256, stream, cancel));
            return path;
        }
    }

    private static async Task<string> Locate(IArmoFlowClient client, string recorded, string digest, CancellationToken cancel) =>
        BackboneStore.IsThere(recorded) ? recorded : await client.BackboneOf(digest, cancel) ?? recorded;

    /// <summary>The run that made a model: named itself, or by the registry.</summary>
    public static async Task<Guid> RunOf(Guid? run, string? model, IArmoFlowClient client, CancellationToken cancel)
    {
        if (run is null == model is null) throw new UsageException("expected one of --run ID and --model NAME[@ALIAS].");
        return run ?? (await client.FindVersion(model!, cancel)).RunId;
    }

    public ConversationScorer Scorer() => Stored.Scorer();

    public void Dispose() => _parts.Delete(recursive: true);
}
