using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Models;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.Workers.Scoring;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli;

/// <summary>The model that a run of a workspace trained, with its backbone.</summary>
internal sealed record RunModel(RunDocument Run, StoredModel Stored)
{
    public static async Task<RunModel> Load(WorkspaceClient client, Guid id, CancellationToken cancel)
    {
        RunDocument run = await client.Find(id, cancel);
        if (run.Status != RunStatus.Completed)
        {
            throw new UsageException($"run {id} is {run.Status}; expected a completed one. Finish it with: armoflow runs "
                + $"{(run.HasEnded ? "retry" : "resume")} {id}.");
        }
        StoredModel stored = await StoredModel.Load(await client.FindSpec(id, cancel),
            name => client.PathOf(run.Artifacts[name].Sha256, cancel),
            (recorded, digest) => client.BackboneAt(recorded, digest, cancel));
        return new RunModel(run, stored);
    }

    /// <summary>The run that made a model: named itself, or by the registry.</summary>
    public static async Task<Guid> RunOf(Guid? run, string? model, string workspace, CancellationToken cancel)
    {
        if (run is null == model is null) throw new UsageException("expected one of --run ID and --model NAME[@ALIAS].");
        if (run is { } id) return id;
        await using ServiceProvider books = await EmbeddedHost.OpenDatabase(workspace);
        return (await books.GetRequiredService<ModelRegistry>().Resolve(model!, cancel)).RunId;
    }

    public ConversationScorer Scorer() => Stored.Scorer();
}
