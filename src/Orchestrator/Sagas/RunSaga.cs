using System.Linq.Expressions;
using System.Reflection;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Ingestion;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Runs;
using MassTransit;

namespace ArmoFlow.Orchestrator.Sagas;

/// <summary>
/// A run, from its submission to its end. Each state sends one step's command and waits for its event; answers to an earlier
/// asking (before a pause, a retry, a crash) are ignored.
/// </summary>
public sealed class RunSaga : MassTransitStateMachine<RunState>
{
    public Event<SubmitRun> RunSubmitted { get; private set; } = null!;
    public Event<DataIngested> DataIngested { get; private set; } = null!;
    public Event<FeaturesExtracted> FeaturesExtracted { get; private set; } = null!;
    public Event<RegressionFitted> RegressionFitted { get; private set; } = null!;
    public Event<DecorrelationFitted> DecorrelationFitted { get; private set; } = null!;
    public Event<GatingTrained> GatingTrained { get; private set; } = null!;
    public Event<ModelEvaluated> ModelEvaluated { get; private set; } = null!;
    public Event<StepFailed> StepFailed { get; private set; } = null!;
    public Event<WorkLost> WorkLost { get; private set; } = null!;
    public Event<ArtifactLost> ArtifactLost { get; private set; } = null!;
    public Event<StepReleased> StepReleased { get; private set; } = null!;
    public Event<MessageUnsent> MessageUnsent { get; private set; } = null!;
    public Event<RunTimedOut> TimedOut { get; private set; } = null!;
    public Event<CancelRun> CancelRequested { get; private set; } = null!;
    public Event<PauseRun> PauseRequested { get; private set; } = null!;
    public Event<ResumeRun> ResumeRequested { get; private set; } = null!;
    public Event<RetryRun> RetryRequested { get; private set; } = null!;

    public State Ingesting { get; private set; } = null!;
    public State ExtractingFeatures { get; private set; } = null!;
    public State FittingRegression { get; private set; } = null!;
    public State FittingDecorrelation { get; private set; } = null!;
    public State TrainingGating { get; private set; } = null!;
    public State Evaluating { get; private set; } = null!;
    public State Completed { get; private set; } = null!;
    public State Failed { get; private set; } = null!;
    public State Cancelled { get; private set; } = null!;
    public State Paused { get; private set; } = null!;

    public RunSaga(TimeProvider time)
    {
        InstanceState(run => run.CurrentState);
        CorrelateByRun();
        OnUnhandledEvent(context => context.Ignore());

        Initially(
            When(RunSubmitted, context => context.Saga.IsEntered || context.Message.Spec is not null)
                .OpenRun(time)
                .SendStep(StepNames.Ingestion, time)
                .TransitionTo(Ingesting),
            // What is asked of a run may overtake its submission, which then finds the run at rest or at work and is ignored.
            When(CancelRequested, context => context.Saga.IsEntered)
                .StopWork(StepStatus.Cancelled, time)
                .EndIn(Cancelled, time),
            When(PauseRequested, context => context.Saga.IsEntered)
                .StopWork(StepStatus.Paused, time)
                .TransitionTo(Paused),
            When(ResumeRequested, context => context.Saga.IsEntered)
                .GoOn(this, time),
            When(MessageUnsent, context => context.Saga.IsEntered)
                .Fail(context => context.Message.Reason, time)
                .EndIn(Failed, time),
            // A run that nobody entered leaves nothing.
            When(RunSubmitted, context => !context.Saga.IsEntered && context.Message.Spec is null).Finalize(),
            When(CancelRequested, context => !context.Saga.IsEntered).Finalize(),
            When(PauseRequested, context => !context.Saga.IsEntered).Finalize(),
            When(ResumeRequested, context => !context.Saga.IsEntered).Finalize(),
            When(MessageUnsent, context => !context.Saga.IsEntered).Finalize());

        SetCompletedWhenFinalized();

        During(Ingesting,
            When(DataIngested, IsCurrent)
                .RecordStep(time)
                .SendStep(StepNames.Features, time)
                .TransitionTo(ExtractingFeatures));

        During(ExtractingFeatures,
            When(FeaturesExtracted, IsCurrent)
                .RecordStep(time)
                .IfElse(context => context.Saga.IsEvaluation,
                    stored => stored.SendStep(StepNames.Evaluation, time).TransitionTo(Evaluating),
                    trained => trained.SendStep(StepNames.Regression, time).TransitionTo(FittingRegression)));

        During(FittingRegression,
            When(RegressionFitted, IsCurrent)
                .RecordStep(time)
                .SendStep(StepNames.Decorrelation, time)
                .TransitionTo(FittingDecorrelation));

        During(FittingDecorrelation,
            When(DecorrelationFitted, IsCurrent)
                .RecordStep(time)
                .SendStep(StepNames.Gating, time)
                .TransitionTo(TrainingGating));

        During(TrainingGating,
            When(GatingTrained, IsCurrent)
                .RecordStep(time)
                .SendStep(StepNames.Evaluation, time)
                .TransitionTo(Evaluating));

        During(Evaluating,
            When(ModelEvaluated, IsCurrent)
                .RecordStep(time)
                .EnterModel(time)
                .EndIn(Completed, time));

        State[] working = [.. StepCatalogue.Names.Select(StateOf)];

        During(working,
            When(StepFailed, context => context.Message.Attempt == context.Saga.Attempt)
                .RecordFailure(time)
                .EndIn(Failed, time),
            When(WorkLost, context => context.Message.Attempt == context.Saga.Attempt)
                .IfElse(context => context.Saga.MayLoseMore,
                    again => again.RecordLoss(context => context.Message.Reason).GoOn(this, time),
                    enough => enough.Fail(context => $"{context.Message.Reason}; given up after {RunState.MostLosses} losses", time)
                        .EndIn(Failed, time)),
            When(ArtifactLost, context => context.Message.Attempt == context.Saga.Attempt)
                .IfElse(context => context.Saga.MayRemake(context.Message.MadeBy),
                    again =>
                        again.RecordLoss(context => context.Message.Error).GoBackTo(context => context.Message.MadeBy).GoOn(this, time),
                    enough => enough.Fail(context => context.Saga.MayLoseMore
                        ? $"{context.Message.Error}. It belongs to {context.Saga.Spec.Model}: run that model's spec again, which makes "
                            + "it anew"
                        : $"{context.Message.Error}; made anew {RunState.MostLosses} times in vain", time).EndIn(Failed, time)),
            When(TimedOut, context => context.Message.Attempt == context.Saga.Attempt)
                .Fail(context => context.Saga.TimeoutMessage(time.GetUtcNow()), time)
                .TellWorkers()
                .EndIn(Failed, time),
            When(StepReleased, context => context.Message.Attempt == context.Saga.Attempt)
                .GoOn(this, time),
            When(MessageUnsent, context => context.Message.Attempt is not { } attempt || attempt == context.Saga.Attempt)
                .Fail(context => context.Message.Reason, time)
                .TellWorkers()
                .EndIn(Failed, time),
            When(PauseRequested)
                .StopWork(StepStatus.Paused, time)
                .ReleaseClaims()
                .TransitionTo(Paused),
            When(ResumeRequested)
                .GoOn(this, time));

        During([.. working, Paused],
            When(CancelRequested)
                .StopWork(StepStatus.Cancelled, time)
                .EndIn(Cancelled, time));

        During(Paused,
            When(ResumeRequested)
                .GoOn(this, time));

        During([Failed, Cancelled],
            When(RetryRequested)
                .Reopen()
                .GoOn(this, time));
    }

    /// <summary>The state in which a run waits for a step.</summary>
    public State StateOf(string step) => GetState(StepCatalogue.Find(step).State);

    /// <summary>Every message that the saga hears names its run.</summary>
    private void CorrelateByRun()
    {
        MethodInfo correlate = typeof(RunSaga).GetMethod(nameof(Correlate), BindingFlags.Instance | BindingFlags.NonPublic)!;
        foreach (PropertyInfo property in typeof(RunSaga).GetProperties().Where(p => p.PropertyType.IsAssignableTo(typeof(Event))))
            correlate.MakeGenericMethod(property.PropertyType.GenericTypeArguments).Invoke(this, [property]);
    }

    private void Correlate<T>(PropertyInfo property)
        where T : class
    {
        Func<T, Guid> runOf = typeof(T).GetProperty(nameof(SubmitRun.RunId))!.GetMethod!.CreateDelegate<Func<T, Guid>>();
        Expression<Func<Event<T>>> declared = Expression.Lambda<Func<Event<T>>>(Expression.Property(Expression.Constant(this), property));
        Event(declared, x => x.CorrelateById(context => runOf(context.Message)));
    }

    private static bool IsCurrent<T>(BehaviorContext<RunState, T> context)
        where T : StepCompleted => context.Message.Attempt == context.Saga.Attempt;
}
