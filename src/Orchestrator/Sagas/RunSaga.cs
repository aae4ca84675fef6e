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
        // An answer may overtake the commit of the row it is for: it faults, and is tried again.
        Event(() => RunSubmitted, x => x.CorrelateById(context => context.Message.RunId));
        Event(() => DataIngested, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => FeaturesExtracted, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => RegressionFitted, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => DecorrelationFitted, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => GatingTrained, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => ModelEvaluated, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => StepFailed, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => CancelRequested, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => PauseRequested, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => ResumeRequested, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        Event(() => RetryRequested, x => x.CorrelateById(context => context.Message.RunId).OnMissingInstance(missing => missing.Fault()));
        OnUnhandledEvent(context => context.Ignore());

        Initially(
            When(RunSubmitted)
                .OpenBooks(time)
                .SendStep(StepNames.Ingestion, time)
                .TransitionTo(Ingesting));

        During(Ingesting,
            When(DataIngested, IsCurrent)
                .RecordStep(time)
                .SendStep(StepNames.Features, time)
                .TransitionTo(ExtractingFeatures));

        During(ExtractingFeatures,
            When(FeaturesExtracted, IsCurrent)
                .RecordStep(time)
                .SendStep(StepNames.Regression, time)
                .TransitionTo(FittingRegression));

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
                .CloseBooks(time)
                .TransitionTo(Completed)
                .AnnounceEnd());

        State[] working = [Ingesting, ExtractingFeatures, FittingRegression, FittingDecorrelation, TrainingGating, Evaluating];

        During(working,
            When(StepFailed, context => context.Message.Attempt == context.Saga.Attempt)
                .RecordFailure(time)
                .CloseBooks(time)
                .TransitionTo(Failed)
                .AnnounceEnd(),
            When(PauseRequested)
                .StopWork("Paused", time)
                .TransitionTo(Paused),
            When(ResumeRequested)
                .GoOn(this, time));

        During([.. working, Paused],
            When(CancelRequested)
                .StopWork("Cancelled", time)
                .CloseBooks(time)
                .TransitionTo(Cancelled)
                .AnnounceEnd());

        During(Paused,
            When(ResumeRequested)
                .GoOn(this, time));

        During([Failed, Cancelled],
            When(RetryRequested)
                .Reopen()
                .GoOn(this, time));
    }

    /// <summary>The state in which a run waits for a step.</summary>
    public State StateOf(string step) => step switch
    {
        StepNames.Ingestion => Ingesting,
        StepNames.Features => ExtractingFeatures,
        StepNames.Regression => FittingRegression,
        StepNames.Decorrelation => FittingDecorrelation,
        StepNames.Gating => TrainingGating,
        StepNames.Evaluation => Evaluating,
        _ => throw new ArgumentOutOfRangeException(nameof(step), step, "not a step"),
    };

    private static bool IsCurrent<T>(BehaviorContext<RunState, T> context) where T : StepCompleted => context.Message.Attempt == context.Saga.Attempt;
}
