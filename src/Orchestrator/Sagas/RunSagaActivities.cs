using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Work;
using MassTransit;

namespace ArmoFlow.Orchestrator.Sagas;

/// <summary>The verbs of <see cref="RunSaga"/>.</summary>
internal static class RunSagaActivities
{
    /// <summary>The submission has entered the run already; a message that came without one enters it here.</summary>
    public static EventActivityBinder<RunState, SubmitRun> OpenRun(this EventActivityBinder<RunState, SubmitRun> binder,
        TimeProvider time) => binder.Then(context =>
    {
        if (!context.Saga.IsEntered) context.Saga.Open(context.Message.Spec!, time.GetUtcNow());
    });

    public static EventActivityBinder<RunState, T> SendStep<T>(this EventActivityBinder<RunState, T> binder, string step, TimeProvider time)
        where T : class => binder.ThenAsync(context => Ask(context, step, time));

    public static EventActivityBinder<RunState, T> RecordStep<T>(this EventActivityBinder<RunState, T> binder, TimeProvider time)
        where T : StepCompleted => binder.Then(context =>
    {
        RunStep step = Current(context.Saga)!;
        step.Status = StepStatus.Completed;
        step.Reused = context.Message.Reused;
        step.Detail = context.Message.Detail;
        step.Key = context.Message.StepKey;
        step.EndedAt = time.GetUtcNow();
        Instruments.Steps.Add(1, Instruments.Tag("step", step.Name), Instruments.Tag("reused", step.Reused));
        if (!step.Reused) Instruments.StepDuration.Record(step.SecondsAt(time.GetUtcNow()), Instruments.Tag("step", step.Name));
        foreach ((string name, ArtifactRef artifact) in context.Message.Outputs) context.Saga.Artifacts[name] = artifact;
        context.Saga.Record(step.Name, JsonNode.Parse(context.Message.Metrics.GetRawText()));
    });

    /// <summary>What the run made becomes a version in the registry, in the transaction that completes the run.</summary>
    public static EventActivityBinder<RunState, T> EnterModel<T>(this EventActivityBinder<RunState, T> binder, TimeProvider time)
        where T : class => binder.ThenAsync(async context =>
    {
        if (context.Saga.IsEvaluation || !context.TryGetPayload(out MessageTransaction? transaction)) return;
        if (await ModelRegistry.Enter(transaction.Database, context.Saga, time.GetUtcNow(),
            context.CancellationToken)) context.GetOrAddPayload(() => new RuleToHold());
    });

    /// <summary>That the run made a version which a rule is to be held against.</summary>
    private sealed record RuleToHold;

    public static EventActivityBinder<RunState, StepFailed> RecordFailure(this EventActivityBinder<RunState, StepFailed> binder,
        TimeProvider time) => binder
        .Then(context => context.Saga.BadInput = context.Message.BadInput)
        .Fail(context => context.Message.Error, time);

    public static EventActivityBinder<RunState, T> Fail<T>(this EventActivityBinder<RunState, T> binder,
        Func<BehaviorContext<RunState, T>, string> error, TimeProvider time)
        where T : class => binder.Then(context =>
    {
        context.Saga.Error = StoredText.Bound(error(context));
        End(context.Saga, StepStatus.Failed, time);
    });

    public static EventActivityBinder<RunState, T> RecordLoss<T>(this EventActivityBinder<RunState, T> binder,
        Func<BehaviorContext<RunState, T>, string> reason)
        where T : class => binder.Then(context =>
    {
        RunStep step = Current(context.Saga)!;
        step.Losses++;
        step.Detail = $"asked again: {reason(context)}";
    });

    /// <summary>Counts a step and all after it as not done.</summary>
    public static EventActivityBinder<RunState, T> GoBackTo<T>(this EventActivityBinder<RunState, T> binder,
        Func<BehaviorContext<RunState, T>, string> step)
        where T : class => binder.Then(context =>
    {
        foreach (RunStep undone in context.Saga.Steps.SkipWhile(s => s.Name != step(context))) undone.Reset();
    });

    public static EventActivityBinder<RunState, T> TellWorkers<T>(this EventActivityBinder<RunState, T> binder)
        where T : class => binder.Publish(context => new StopWork(context.Saga.CorrelationId));

    /// <summary>What the run held of steps' keys is free for the runs that waited for it; these are told.</summary>
    public static EventActivityBinder<RunState, T> ReleaseClaims<T>(this EventActivityBinder<RunState, T> binder)
        where T : class => binder.ThenAsync(Release);

    /// <summary>Ends the step in progress and tells the workers; what it has finished stays in the database.</summary>
    public static EventActivityBinder<RunState, T> StopWork<T>(this EventActivityBinder<RunState, T> binder, StepStatus status,
        TimeProvider time)
        where T : class => binder.Then(context => End(context.Saga, status, time)).TellWorkers();

    /// <summary>Ends the run in a state of no return, frees what it held, and publishes its end.</summary>
    public static EventActivityBinder<RunState, T> EndIn<T>(this EventActivityBinder<RunState, T> binder, State state, TimeProvider time)
        where T : class => binder
        .Then(context => context.Saga.End(time.GetUtcNow()))
        .ReleaseClaims()
        .TransitionTo(state)
        .ThenAsync(async context =>
        {
            Instruments.Runs.Add(1, Instruments.Tag("status", context.Saga.CurrentState));
            if (context.Saga.IsEvaluation && context.TryGetPayload(out MessageTransaction? transaction))
                await AlertStore.Open(transaction.Database, context.Saga, time.GetUtcNow(), context.CancellationToken);
        })
        .Publish(context => new RunEnded(context.Saga.CorrelationId, context.Saga.Status, context.Saga.IsEvaluation,
            context.HasPayloadType(typeof(RuleToHold))));

    public static EventActivityBinder<RunState, T> Reopen<T>(this EventActivityBinder<RunState, T> binder)
        where T : class => binder.Then(context => context.Saga.Reopen());

    /// <summary>Asks again for the first step that is not completed, and waits for it.</summary>
    public static EventActivityBinder<RunState, T> GoOn<T>(this EventActivityBinder<RunState, T> binder, RunSaga saga, TimeProvider time)
        where T : class => binder.ThenAsync(async context =>
    {
        string step = Current(context.Saga)!.Name;
        await Ask(context, step, time);
        await context.TransitionToState(saga.StateOf(step));
    });

    private static RunStep? Current(RunState run) => run.Steps.FirstOrDefault(s => s.Status != StepStatus.Completed);

    private static void End(RunState run, StepStatus status, TimeProvider time)
    {
        RunStep step = Current(run)!;
        step.Status = status;
        step.EndedAt = time.GetUtcNow();
        run.DeadlineAt = null;
    }

    private static async Task Ask<T>(BehaviorContext<RunState, T> context, string name, TimeProvider time)
        where T : class
    {
        RunState run = context.Saga;
        if (run.Attempt > 0) await Release(context); // claims belong to an asking
        RunStep step = run.Steps.Single(s => s.Name == name);
        step.Status = StepStatus.Running;
        step.StartedAt = time.GetUtcNow();
        step.EndedAt = null;
        run.Attempt++;
        run.SetDeadline(time.GetUtcNow());
        Step asked = StepCatalogue.Find(name);
        object command = asked.Ask(run.CorrelationId, run.SpecDigest, run.Artifacts, run.Attempt);
        await context.Send(asked.Queue, command); // as its own type, not as StepCommand
    }

    private static async Task Release<T>(BehaviorContext<RunState, T> context)
        where T : class
    {
        if (!context.TryGetPayload(out MessageTransaction? transaction)) return;
        foreach (StepClaim waiting in await StepClaims.Release(transaction.Database, context.Saga.CorrelationId, context.CancellationToken))
            await context.Publish(new StepReleased(waiting.RunId, waiting.Attempt));
    }
}

/// <summary>A message that meets a locked row or a broken connection is tried again.</summary>
public sealed class RunSagaDefinition : SagaDefinition<RunState>
{
    public RunSagaDefinition() => EndpointName = "runs";

    protected override void ConfigureSaga(IReceiveEndpointConfigurator endpointConfigurator, ISagaConfigurator<RunState> sagaConfigurator,
        IRegistrationContext context) =>
        endpointConfigurator.UseMessageRetry(r => r.Exponential(6, TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(5),
            TimeSpan.FromMilliseconds(200)));
}
