using System.Text.Json;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Runs;

namespace ArmoFlow.Orchestrator.Models;

/// <summary>What the gates say of a run, whichever kind it is.</summary>
public sealed class RunVerdicts(RunQueries runs, ModelService models)
{
    /// <summary>
    /// Of an evaluation, what was entered when it was judged; of a training run, what they say of its version now, held against the
    /// champion. Null for an unknown run.
    /// </summary>
    public async Task<RunGates?> Of(Guid id, CancellationToken cancel)
    {
        if (await runs.Find(id, cancel) is not { } run) return null;
        if (run.Model is null) return run.Status == RunStatus.Completed ? await models.JudgeRun(id, cancel) : NotYet(run);
        if (run.Gates is not { } gates) return NotYet(run);
        return new RunGates(id, true, gates.Holds, gates.Verdicts.Deserialize<IReadOnlyList<GateVerdict>>(JsonSerializerOptions.Web)
            ?? []);
    }

    /// <summary>What was cancelled, or failed in training, has no figures and never will.</summary>
    private static RunGates NotYet(RunDocument run) =>
        run.Status == RunStatus.Cancelled || (run is { Status: RunStatus.Failed, Model: null }) ? new RunGates(run.RunId, true, false, [])
        : new RunGates(run.RunId, false, null, []);
}
