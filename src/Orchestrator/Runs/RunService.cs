using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using MassTransit;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>What the command line and the HTTP API do with runs.</summary>
public sealed class RunService(
    BusOutbox outbox,
    UnitsOfWork units,
    RunQueries queries,
    RunStore store,
    RunChanges changes,
    ModelRegistry registry,
    ForgettingStore forgetting,
    TimeProvider time)
{
    /// <summary>How long a caller waits for the saga's answer.</summary>
    public static readonly TimeSpan AnswerWait = TimeSpan.FromSeconds(30);

    /// <summary>Another orchestrator's saga may answer, of which this process hears nothing.</summary>
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(100);

    /// <summary>Enters a run in the database, together with the message that starts it.</summary>
    public async Task<Guid> Submit(RunSpec spec, CancellationToken cancel)
    {
        await using UnitOfWork unit = await units.Begin(cancel);
        Guid id = await Submit(unit, spec, null, cancel);
        await unit.Commit(cancel);
        return id;
    }

    /// <summary>The same, once for each key of the caller's: asked again, it returns the run that there is.</summary>
    /// <exception cref="SubmissionKeyException">The key was given for another spec, or cannot be one.</exception>
    public async Task<Guid> Submit(RunSpec spec, string key, CancellationToken cancel)
    {
        if (StoredText.WrongAsLabel(key, StoredText.LongestKey) is { } expected) throw new SubmissionKeyException(key, expected);
        string own = $"{Caller.Current.Name} {key}", digest = SpecReader.Digest(spec);
        for (bool isAgain = false; ; isAgain = true)
        {
            if (await store.FindKey(own, cancel) is { } known)
                return known.SpecDigest == digest ? known.RunId : throw new SubmissionKeyException(key, known.RunId);
            await using UnitOfWork unit = await units.Begin(cancel);
            try
            {
                SubmissionKey row = new() { Key = own, SpecDigest = digest, At = time.GetUtcNow(), RunId = NewId.NextGuid() };
                await RunStore.TakeKey(unit, row, cancel); // the second of two at once fails here, and finds the first's run
                await Submit(unit, spec, null, row.RunId, cancel);
                await unit.Commit(cancel);
                return row.RunId;
            }
            catch (Exception e) when (!isAgain && RunStore.IsTaken(e)) { }
        }
    }

    /// <summary>The same, with the caller's other changes.</summary>
    /// <param name="unit">The caller's changes.</param>
    /// <param name="spec">The spec.</param>
    /// <param name="trigger">What asked for it; null for a person.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="DatasetException">It reads a data set that is not there.</exception>
    /// <exception cref="RegistryException">It evaluates a model that is not there.</exception>
    public Task<Guid> Submit(UnitOfWork unit, RunSpec spec, string? trigger, CancellationToken cancel) =>
        Submit(unit, spec, trigger, NewId.NextGuid(), cancel);

    private async Task<Guid> Submit(UnitOfWork unit, RunSpec spec, string? trigger, Guid id, CancellationToken cancel)
    {
        RunState run = new() { CorrelationId = id, Trigger = trigger };
        spec = await RunStore.Settle(unit, spec, cancel);
        if (spec.Model is null) await RunStore.RequireRoomForRule(unit, spec, cancel);
        if (spec.Model is null) run.Open(spec, time.GetUtcNow());
        else spec = await OpenEvaluation(run, spec, cancel);
        RunStore.Add(unit, run);
        await outbox.Save(unit, new SubmitRun { RunId = run.CorrelationId }, cancel);
        return run.CorrelationId;
    }

    /// <summary>
    /// Opens a run that evaluates a stored model: with the model's objectives and parts, and its backbone unless the spec names
    /// one.
    /// </summary>
    private async Task<RunSpec> OpenEvaluation(RunState run, RunSpec spec, CancellationToken cancel)
    {
        ModelVersion version = await registry.Resolve(spec.Model!, cancel);
        RunState madeBy = (await store.Find(version.RunId, cancel))!;
        BackboneSpec trainedOn = madeBy.Spec.Backbone;
        spec = spec with
        {
            Model = $"{version.Model}@{version.Version}",
            Objectives = madeBy.Spec.Objectives,
            // or its figures would not compare
            Benchmark = spec.Benchmark is { Sections: null } benchmark
                ? benchmark with { Sections = madeBy.Spec.Benchmark?.Sections }
                : spec.Benchmark,
            Decorrelation = madeBy.Spec.Decorrelation with { Reference = null },
            Backbone = spec.Backbone != BackboneSpec.OfModel ? spec.Backbone : trainedOn with
            {
                Path = Path.GetFullPath(Path.Combine(madeBy.Spec.Folder, trainedOn.Path)),
                // figures of another type would not compare
                Dtype = RunFigures.Of(madeBy.Metrics).Features?.Dtype ?? trainedOn.Dtype,
            },
        };
        run.Open(spec, time.GetUtcNow());
        run.TakeModel(spec.Model, madeBy);
        return spec;
    }

    /// <summary>Asks the run's saga for a change and returns the run once it has answered; null for an unknown run.</summary>
    /// <param name="id">The run.</param>
    /// <param name="action">What is asked of it.</param>
    /// <param name="cancel">Gives up waiting.</param>
    /// <returns>The run as it is then. Where no answer came in half a minute, its <see cref="RunDocument.Pending"/> says what was asked;
    /// it is still to come.</returns>
    /// <exception cref="RunConflictException">The run is in a state that does not allow it, or came to one before it was
    /// asked.</exception>
    public async Task<RunDocument?> Control(Guid id, RunAction action, CancellationToken cancel)
    {
        if (await queries.Find(id, cancel) is not { } before) return null;
        bool allowed = action switch
        {
            RunAction.Cancel or RunAction.Resume => !before.HasEnded,
            RunAction.Pause => !before.HasEnded && before.Status != RunStatus.Paused,
            RunAction.Retry => before.Status is RunStatus.Failed or RunStatus.Cancelled,
            _ => throw new ArgumentOutOfRangeException(nameof(action), action, "not an action"),
        };
        if (!allowed) throw new RunConflictException(before, action);
        if (action == RunAction.Retry) await RequireNothingForgotten(before, cancel);
        int attempt = (await store.Find(id, cancel))!.Attempt;
        await Ask(id, action, before.Status, cancel);
        bool isAnswered = await WaitFor(id, run => IsAnswered(action, run, attempt) || IsTooLate(action, run), cancel);
        RunDocument now = (await queries.Find(id, cancel))!;
        bool isOvertaken = isAnswered && StatusAfter(action) is { } wanted && now.Status != wanted;
        if (isOvertaken) throw new RunConflictException(now, action);
        return isAnswered ? now : now with { Pending = action };
    }

    /// <summary>The status of a run once it is cancelled or paused; null for what lets it go on.</summary>
    public static RunStatus? StatusAfter(RunAction action) => action switch
    {
        RunAction.Cancel => RunStatus.Cancelled,
        RunAction.Pause => RunStatus.Paused,
        _ => null,
    };

    private static bool IsAnswered(RunAction action, RunState run, int attempt) =>
        StatusAfter(action) is { } status ? run.Status == status : run.Attempt != attempt;

    /// <summary>True where the run ended before the saga heard of the asking, which it then ignores.</summary>
    private static bool IsTooLate(RunAction action, RunState run) => action != RunAction.Retry && RunState.Ended.Contains(run.CurrentState);

    /// <summary>A run keeps its spec: done again from its data, it would read what has been forgotten since.</summary>
    private async Task RequireNothingForgotten(RunDocument run, CancellationToken cancel)
    {
        if (run.Steps.Any(s => s is { Name: StepNames.Ingestion, Status: StepStatus.Completed })) return;
        RunSpec spec = (await store.Find(run.RunId, cancel))!.Spec;
        if (SpecReader.Digest(spec) == SpecReader.Digest(await forgetting.Apply(spec, cancel))) return;
        Exclusion newest = (await forgetting.List(cancel)).MaxBy(e => e.At)!;
        throw new RetentionException($"run {run.RunId} was submitted before {newest}, and might read it. Submit its spec again: armoflow "
            + "run SPEC.",
            Refusal.Conflict);
    }

    private async Task Ask(Guid id, RunAction action, RunStatus status, CancellationToken cancel)
    {
        await using UnitOfWork unit = await units.Begin(cancel);
        unit.Note($"run.{action.Text()}", $"run/{id}", before: new { state = status.Text() });
        await (action switch
        {
            RunAction.Cancel => outbox.Save(unit, new CancelRun(id), cancel),
            RunAction.Pause => outbox.Save(unit, new PauseRun(id), cancel),
            RunAction.Resume => outbox.Save(unit, new ResumeRun(id), cancel),
            _ => outbox.Save(unit, new RetryRun(id), cancel),
        });
        await unit.Commit(cancel);
    }

    /// <summary>False where the condition did not come true in the time that a caller waits.</summary>
    private async Task<bool> WaitFor(Guid id, Func<RunState, bool> condition, CancellationToken cancel)
    {
        long start = time.GetTimestamp();
        while (true)
        {
            Task change = changes.Next;
            if (await store.Find(id, cancel) is { } run && condition(run)) return true;
            if (time.GetElapsedTime(start) >= AnswerWait) return false;
            await Task.WhenAny(change, Task.Delay(LookInterval, time, cancel));
            cancel.ThrowIfCancellationRequested();
        }
    }
}

/// <summary>A submission's key cannot be one, or was given for another spec before.</summary>
public sealed class SubmissionKeyException : RefusedException
{
    public SubmissionKeyException(string key, Guid run)
        : base($"key '{key}' was given for another spec before, which became run {run}. Give each submission a key of its own.",
            Refusal.Conflict)
    {
    }

    public SubmissionKeyException(string key, string expected)
        : base($"key '{StoredText.Excerpt(key)}': expected {expected}.", Refusal.Unusable)
    {
    }
}

/// <summary>A run cannot be changed so in its state.</summary>
public sealed class RunConflictException(RunDocument run, RunAction action)
    : RefusedException($"run {run.RunId}: it is {run.Status}; expected "
        + $"{(action == RunAction.Retry ? "Failed or Cancelled" : "a run in progress")} to {action.Text()} it. "
        + $"{(run.HasEnded && action != RunAction.Retry ? "Start it anew with: armoflow run." : "See: armoflow runs show.")}",
        Refusal.Conflict);
