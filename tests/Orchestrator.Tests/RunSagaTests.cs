using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Decorrelation;
using ArmoFlow.Contracts.Evaluation;
using ArmoFlow.Contracts.Features;
using ArmoFlow.Contracts.Gating;
using ArmoFlow.Contracts.Ingestion;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Sagas;
using ArmoFlow.Persistence.Runs;
using MassTransit;
using MassTransit.Saga;
using MassTransit.Testing;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>The saga's table of transitions, on MassTransit's in-memory harness; the steps are answered by the tests.</summary>
public sealed class RunSagaTests : IAsyncLifetime
{
    private readonly Guid _run = Guid.NewGuid();
    private readonly ServiceProvider _services = new ServiceCollection().AddSingleton(TimeProvider.System)
        .AddMassTransitTestHarness(bus => bus.AddSagaStateMachine<RunSaga, RunState, RunSagaDefinition>().InMemoryRepository())
        .BuildServiceProvider(true);

    private ITestHarness Harness => _services.GetRequiredService<ITestHarness>();
    private ISagaStateMachineTestHarness<RunSaga, RunState> Saga => Harness.GetSagaStateMachineHarness<RunSaga, RunState>();

    public async ValueTask InitializeAsync()
    {
        await Harness.Start();
        await Harness.Bus.Publish(new SubmitRun
        {
            RunId = _run,
            Spec = new RunSpec { Name = "name", Folder = "/", Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [] }
        });
        await Reach(s => s.Ingesting);
    }

    public ValueTask DisposeAsync() => _services.DisposeAsync();

    /// <summary>A step of the catalogue that the saga does not know would end a run in a state that no event leaves.</summary>
    [Fact]
    public void Every_step_has_a_state_and_an_event()
    {
        RunSaga saga = new(TimeProvider.System);
        foreach (Step step in StepCatalogue.All)
        {
            State state = saga.StateOf(step.Name);
            saga.NextEvents(state).ShouldContain(e => e.GetType().GenericTypeArguments.Contains(step.Completed), step.Name);
        }
    }

    [Fact]
    public async Task A_run_goes_through_its_six_steps_and_hands_artifacts_on()
    {
        await Answer<DataIngested>(ArtifactNames.Ratings);
        await Reach(s => s.ExtractingFeatures);
        await Answer<FeaturesExtracted>(ArtifactNames.Features);
        await Reach(s => s.FittingRegression);
        (await Harness.Sent.Any<FitRegression>(m => m.Context.Message.Inputs.Keys.Order()
            .SequenceEqual(new[] { ArtifactNames.Features, ArtifactNames.Ratings }))).ShouldBeTrue();
        await Answer<RegressionFitted>(ArtifactNames.Regression);
        await Reach(s => s.FittingDecorrelation);
        await Answer<DecorrelationFitted>(ArtifactNames.Decorrelation);
        await Reach(s => s.TrainingGating);
        await Answer<GatingTrained>(ArtifactNames.Gating);
        await Reach(s => s.Evaluating);
        await Answer<ModelEvaluated>(ArtifactNames.Report);
        await Reach(s => s.Completed);
        Run.Steps.ShouldAllBe(s => s.Status == StepStatus.Completed && s.EndedAt >= s.StartedAt);
        Run.Artifacts.Count.ShouldBe(6);
        Run.EndedAt.ShouldNotBeNull();
        (await Harness.Published.Any<RunEnded>(m => m.Context.Message.Status == RunStatus.Completed)).ShouldBeTrue();
    }

    [Fact]
    public async Task A_failed_step_fails_the_run_and_a_retry_asks_for_that_step_again()
    {
        await Answer<DataIngested>(ArtifactNames.Ratings);
        await Reach(s => s.ExtractingFeatures);
        await Fail("no such file");
        await Reach(s => s.Failed);
        (Run.Error, Run.BadInput, Run.Steps[1].Status).ShouldBe(("no such file", true, StepStatus.Failed));
        await Harness.Bus.Publish(new RetryRun(_run));
        await Reach(s => s.ExtractingFeatures);
        (Run.Error, Run.BadInput, Run.EndedAt, Run.Steps[0].Status).ShouldBe((null, false, null, StepStatus.Completed));
        Asked<ExtractFeatures>().Count.ShouldBe(2);
        Asked<IngestData>().Count.ShouldBe(1);
    }

    [Fact]
    public async Task Cancelling_stops_the_work_and_a_late_answer_changes_nothing()
    {
        int attempt = Run.Attempt;
        await Harness.Bus.Publish(new CancelRun(_run));
        await Reach(s => s.Cancelled);
        (await Harness.Published.Any<StopWork>(m => m.Context.Message.RunId == _run)).ShouldBeTrue();
        await Answer<DataIngested>(ArtifactNames.Ratings, attempt);
        await Consumed<DataIngested>();
        Run.CurrentState.ShouldBe("Cancelled");
        Run.Artifacts.ShouldBeEmpty();
    }

    [Fact]
    public async Task A_paused_run_goes_on_where_it_was_and_ignores_the_answer_from_before()
    {
        await Answer<DataIngested>(ArtifactNames.Ratings);
        await Reach(s => s.ExtractingFeatures);
        int before = Run.Attempt;
        await Harness.Bus.Publish(new PauseRun(_run));
        await Reach(s => s.Paused);
        (await Harness.Published.Any<StopWork>()).ShouldBeTrue();
        await Harness.Bus.Publish(new ResumeRun(_run));
        await Reach(s => s.ExtractingFeatures);
        Run.Attempt.ShouldBe(before + 1);
        await Answer<FeaturesExtracted>(ArtifactNames.Features, before);
        await Consumed<FeaturesExtracted>();
        Run.CurrentState.ShouldBe("ExtractingFeatures");
        await Answer<FeaturesExtracted>(ArtifactNames.Features);
        await Reach(s => s.FittingRegression);
    }

    [Fact]
    public async Task A_run_whose_process_was_killed_is_asked_again_for_its_step()
    {
        await Harness.Bus.Publish(new ResumeRun(_run));
        await Consumed<ResumeRun>();
        Asked<IngestData>().Select(m => m.Attempt).ShouldBe([1, 2]);
        Run.CurrentState.ShouldBe("Ingesting");
    }

    [Fact]
    public async Task Lost_work_is_asked_for_again_and_not_without_end()
    {
        int attempt = Run.Attempt;
        await Harness.Bus.Publish(new WorkLost { RunId = _run, Attempt = attempt - 1, Reason = "an old loss" });
        for (int loss = 1; loss <= RunState.MostLosses; loss++)
        {
            await Harness.Bus.Publish(new WorkLost { RunId = _run, Attempt = Run.Attempt, Reason = "worker 1 was lost" });
            await Until(() => Run.Attempt == attempt + loss);
        }
        (Run.CurrentState, Run.Steps[0].Status, Run.Steps[0].Losses).ShouldBe(("Ingesting", StepStatus.Running, RunState.MostLosses));
        Run.Steps[0].Detail.ShouldNotBeNull().ShouldContain("worker 1 was lost");
        await Harness.Bus.Publish(new WorkLost { RunId = _run, Attempt = Run.Attempt, Reason = "worker 1 was lost" });
        await Reach(s => s.Failed);
        Run.Error.ShouldNotBeNull().ShouldContain("given up");
    }

    [Fact]
    public async Task A_lost_artifact_takes_the_run_back_to_the_step_that_makes_it()
    {
        await Answer<DataIngested>(ArtifactNames.Ratings);
        await Reach(s => s.ExtractingFeatures);
        await Answer<FeaturesExtracted>(ArtifactNames.Features);
        await Reach(s => s.FittingRegression);
        await Harness.Bus.Publish(new ArtifactLost
        {
            RunId = _run,
            Attempt = Run.Attempt,
            MadeBy = StepNames.Ingestion,
            Error = "artifact ab: missing"
        });
        await Reach(s => s.Ingesting);
        Run.Steps.Select(s => s.Status).Take(3).ShouldBe([StepStatus.Running, StepStatus.Pending, StepStatus.Pending]);
        Asked<IngestData>().Count.ShouldBe(2);
    }

    [Fact]
    public async Task A_run_that_takes_too_long_fails_and_its_work_stops()
    {
        Run.DeadlineAt.ShouldNotBeNull().ShouldBe(Run.Steps[0].StartedAt!.Value.AddHours(24), TimeSpan.FromSeconds(1));
        await Harness.Bus.Publish(new RunTimedOut(_run, Run.Attempt));
        await Reach(s => s.Failed);
        Run.Error.ShouldNotBeNull().ShouldContain("limits.stepHours");
        Run.DeadlineAt.ShouldBeNull();
        (await Harness.Published.Any<StopWork>(m => m.Context.Message.RunId == _run)).ShouldBeTrue();
    }

    [Fact]
    public async Task What_a_state_does_not_expect_is_ignored()
    {
        await Harness.Bus.Publish(new RetryRun(_run));
        await Consumed<RetryRun>();
        await Answer<ModelEvaluated>(ArtifactNames.Report);
        await Consumed<ModelEvaluated>();
        Run.CurrentState.ShouldBe("Ingesting");
        (await Harness.Published.Any<Fault>()).ShouldBeFalse();
    }

    [Theory]
    [InlineData("Cancelled")]
    [InlineData("Paused")]
    [InlineData("Ingesting")]
    [InlineData("Failed")]
    public async Task What_is_asked_of_a_run_counts_though_it_comes_before_the_submission(string state)
    {
        Guid id = Enter();
        await (state switch
        {
            "Cancelled" => Harness.Bus.Publish(new CancelRun(id)),
            "Paused" => Harness.Bus.Publish(new PauseRun(id)),
            "Ingesting" => Harness.Bus.Publish(new ResumeRun(id)),
            _ => Harness.Bus.Publish(new MessageUnsent(id, null, "cannot be sent: too large")),
        });
        await Until(() => Saga.Sagas.Contains(id)!.CurrentState == state);
        await Harness.Bus.Publish(new SubmitRun { RunId = id });
        (await Saga.Consumed.Any<SubmitRun>(m => m.Context.Message.RunId == id)).ShouldBeTrue();
        RunState run = Saga.Sagas.Contains(id)!;
        run.CurrentState.ShouldBe(state);
        Asked<IngestData>().Count(m => m.RunId == id).ShouldBe(state == "Ingesting" ? 1 : 0);
        if (state == "Paused")
        {
            await Harness.Bus.Publish(new ResumeRun(id));
            await Until(() => Asked<IngestData>().Any(m => m.RunId == id));
            run.CurrentState.ShouldBe("Ingesting");
        }
        if (state == "Failed") run.Error.ShouldBe("cannot be sent: too large");
    }

    [Fact]
    public async Task A_run_that_nobody_entered_leaves_nothing()
    {
        Guid id = Guid.NewGuid();
        await Harness.Bus.Publish(new CancelRun(id));
        await Harness.Bus.Publish(new SubmitRun { RunId = id });
        (await Saga.Consumed.Any<CancelRun>(m => m.Context.Message.RunId == id)).ShouldBeTrue();
        (await Saga.Consumed.Any<SubmitRun>(m => m.Context.Message.RunId == id)).ShouldBeTrue();
        IndexedSagaDictionary<RunState> kept = _services.GetRequiredService<IndexedSagaDictionary<RunState>>();
        await Until(() => kept[id] is null);
        (await Harness.Published.Any<Fault>()).ShouldBeFalse();
    }

    [Fact]
    public async Task A_message_that_can_never_be_sent_fails_its_run()
    {
        await Harness.Bus.Publish(new MessageUnsent(_run, Run.Attempt - 1, "of an earlier asking"));
        await Harness.Bus.Publish(new MessageUnsent(_run, Run.Attempt, "IngestData cannot be sent: it is too large"));
        await Reach(s => s.Failed);
        Run.Error.ShouldBe("IngestData cannot be sent: it is too large");
    }

    [Fact]
    public void Commands_name_the_spec_and_do_not_carry_it()
    {
        IngestData command = Asked<IngestData>().Single();
        command.Spec.ShouldBeNull();
        command.SpecDigest.ShouldBe(Run.SpecDigest);
        command.SpecDigest.Length.ShouldBe(64);
    }

    /// <summary>As the submission leaves a run, whose message is still to be sent.</summary>
    private Guid Enter()
    {
        RunState run = new() { CorrelationId = Guid.NewGuid() };
        run.Open(new RunSpec { Name = "name", Folder = "/", Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [] },
            DateTimeOffset.UtcNow);
        _services.GetRequiredService<IndexedSagaDictionary<RunState>>().Add(new SagaInstance<RunState>(run));
        return run.CorrelationId;
    }

    private RunState Run => Saga.Sagas.Contains(_run)!;

    private async Task Reach(Func<RunSaga, State> state) =>
        (await Saga.Exists(_run, state)).ShouldNotBeNull($"the run is {Saga.Sagas.Contains(_run)?.CurrentState}");

    private static async Task Until(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            i.ShouldBeLessThan(500);
            await Task.Delay(20);
        }
    }

    private async Task Consumed<T>() where T : class => (await Saga.Consumed.Any<T>()).ShouldBeTrue();

    private List<T> Asked<T>() where T : class => [.. Harness.Sent.Select<T>().Select(m => m.Context.Message)];

    private Task Answer<T>(string output, int? attempt = null) where T : StepCompleted, new() => Harness.Bus.Publish(new T
    {
        RunId = _run,
        Attempt = attempt ?? Run.Attempt,
        StepKey = "key",
        Detail = "done",
        Outputs = new Dictionary<string, ArtifactRef> { [output] = new("ab", 1) },
        Metrics = JsonElement.Parse("{}"),
    });

    private Task Fail(string error) =>
        Harness.Bus.Publish(new StepFailed
        {
            RunId = _run,
            Attempt = Run.Attempt,
            Step = StepNames.Features,
            Error = error,
            BadInput = true
        });
}
