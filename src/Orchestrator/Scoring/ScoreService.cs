using System.Collections.Concurrent;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Work;

namespace ArmoFlow.Orchestrator.Scoring;

/// <summary>What scores.</summary>
/// <param name="Model">The model's name.</param>
/// <param name="Version">Its version; null for a run that was named itself.</param>
/// <param name="RunId">The run that trained it.</param>
/// <param name="NoSignal">Why its scores mean nothing; null where they mean something.</param>
public sealed record ScoringModel(string Model, int? Version, Guid RunId, string? NoSignal = null);

/// <summary>Scores by registered models and by runs, on whichever worker is free.</summary>
public sealed class ScoreService(
    ScoreBatcher batcher,
    ModelRegistry registry,
    WorkStore work,
    RunStore runs,
    TimeProvider time)
{
    private static readonly TimeSpan Fresh = TimeSpan.FromSeconds(1); // so soon is a swapped alias in use
    private readonly ConcurrentDictionary<string, (ScoringModel Model, DateTimeOffset Until)> _references = new();
    private readonly ConcurrentDictionary<Guid, OpenedRun> _runs = new();
    private DateTimeOffset _servedUntil;

    /// <summary>References and runs that are remembered; callers choose their names, and could go on for ever.</summary>
    private const int MostRemembered = 1000;

    /// <param name="reference">NAME[@ALIAS or @VERSION]; null to go by the run.</param>
    /// <param name="run">The run; null to go by the reference.</param>
    /// <param name="items">What to score.</param>
    /// <param name="steer">OBJ=W or OBJ=*F.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="RegistryException">There is no such model or run, or it is not completed.</exception>
    /// <exception cref="NobodyScoresException">No worker serves scoring.</exception>
    public async Task<(ScoringModel Model, ScoredResponse[] Scores)> Score(string? reference, Guid? run, IReadOnlyList<ScoreItem> items,
        IReadOnlyList<string> steer, CancellationToken cancel)
    {
        ScoringModel model = run is { } id ? new ScoringModel((await Open(id, cancel)).Request.Spec.Name, null, id)
            : await Resolve(reference ?? throw new RegistryException("expected a model, NAME[@ALIAS], or a run."), cancel);
        OpenedRun opened = await Open(model.RunId, cancel);
        ScoreResponses batch = opened.Request with { Steer = steer };
        await RequireWorker(cancel);
        ScoredResponse[] scores = await batcher.Score($"{model.RunId} {string.Join('\n', steer)}", batch, items, cancel);
        return (model with { NoSignal = opened.NoSignal }, scores);
    }

    private async Task<ScoringModel> Resolve(string reference, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        if (_references.TryGetValue(reference, out (ScoringModel Model, DateTimeOffset Until) known) && known.Until > now)
            return known.Model;
        ModelVersion version = await registry.Resolve(reference, cancel);
        ScoringModel model = new(version.Model, version.Version, version.RunId);
        if (_references.Count >= MostRemembered) _references.Clear();
        _references[reference] = (model, now + Fresh);
        return model;
    }

    private async Task<OpenedRun> Open(Guid id, CancellationToken cancel)
    {
        if (_runs.TryGetValue(id, out OpenedRun? known)) return known;
        RunState run = await runs.Find(id, cancel)
            ?? throw new RegistryException($"no run {id}. See: armoflow runs list.", Refusal.Missing);
        if (run.Status != RunStatus.Completed) throw new RegistryException($"run {id} is {run.Status}; expected a completed one.");
        if (_runs.Count >= MostRemembered) _runs.Clear();
        ScoreResponses request = new() { Spec = run.Spec with { Forgotten = null }, Artifacts = run.Artifacts, Items = [] };
        return _runs[id] = new OpenedRun(request, RunSignal.Missing(run.Metrics));
    }

    /// <param name="Request">What a worker is asked, but for the items.</param>
    /// <param name="NoSignal">Why the run's scores mean nothing.</param>
    private sealed record OpenedRun(ScoreResponses Request, string? NoSignal);

    private async Task RequireWorker(CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        if (_servedUntil > now) return;
        if (!(await work.Workers(cancel)).Any(w => w.Serves(ScoreResponses.Queue))) throw new NobodyScoresException();
        _servedUntil = now + TimeSpan.FromSeconds(10);
    }
}

/// <summary>No worker serves scoring.</summary>
public sealed class NobodyScoresException() : RefusedException("no worker serves scoring. Start one with: armoflow worker --steps scoring.",
    Refusal.Unavailable);
