using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>What is asked of a run is answered once it has come about; until then it is said to be still to come.</summary>
public sealed class ControlTests : ClockedDatabase
{
    private RunService Runs => Services.GetRequiredService<RunService>();

    [Fact]
    public async Task A_cancel_that_nobody_has_answered_is_pending_and_never_said_to_be_done()
    {
        Guid id = await Submit();
        RunDocument answer = await Answered(Runs.Control(id, RunAction.Cancel, default));
        (answer.Status, answer.Pending).ShouldBe((RunStatus.Submitted, RunAction.Cancel));
    }

    [Fact]
    public async Task Another_change_of_the_run_is_no_answer_to_a_cancel()
    {
        Guid id = await Submit();
        Task<RunDocument?> asked = Runs.Control(id, RunAction.Cancel, default);
        await Change(run => (run.CurrentState, run.Attempt) = ("Ingesting", 1));
        await Change(run => (run.CurrentState, run.Attempt) = ("ExtractingFeatures", 2));
        RunDocument answer = await Answered(asked);
        (answer.Status, answer.Pending).ShouldBe((RunStatus.ExtractingFeatures, RunAction.Cancel));
    }

    [Theory]
    [InlineData(RunAction.Cancel, RunStatus.Cancelled)]
    [InlineData(RunAction.Pause, RunStatus.Paused)]
    public async Task A_cancel_or_pause_is_answered_by_its_state(RunAction action, RunStatus status)
    {
        Guid id = await Submit();
        Task<RunDocument?> asked = Runs.Control(id, action, default);
        await Change(run => run.CurrentState = RunState.StateOf(status));
        RunDocument answer = await Answered(asked);
        (answer.Status, answer.Pending).ShouldBe((status, null));
    }

    [Fact]
    public async Task A_resume_is_answered_by_a_new_asking()
    {
        Guid id = await Submit();
        await Change(run => run.CurrentState = "Paused");
        Task<RunDocument?> asked = Runs.Control(id, RunAction.Resume, default);
        await Change(run => (run.CurrentState, run.Attempt) = ("Ingesting", 1));
        RunDocument answer = await Answered(asked);
        (answer.Status, answer.Pending).ShouldBe((RunStatus.Ingesting, null));
    }

    [Fact]
    public async Task A_cancel_that_comes_after_the_end_is_a_conflict()
    {
        Guid id = await Submit();
        Task<RunDocument?> asked = Runs.Control(id, RunAction.Cancel, default);
        await Change(run => run.CurrentState = "Completed");
        (await Should.ThrowAsync<RunConflictException>(() => Answered(asked))).Message.ShouldContain("it is Completed");
    }

    private Task<Guid> Submit() =>
        Runs.Submit(new RunSpec { Name = "name", Folder = "/", Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [] },
            default);

    /// <summary>What the saga would do.</summary>
    private async Task Change(Action<RunState> change)
    {
        await using ArmoFlowDbContext db = await Context();
        change(await db.Runs.SingleAsync());
        await db.SaveChangesAsync();
    }

    /// <summary>Turns the clock until the answer is there.</summary>
    private async Task<RunDocument> Answered(Task<RunDocument?> answer)
    {
        while (!answer.IsCompleted)
        {
            Time.Advance(TimeSpan.FromSeconds(1));
            await Task.WhenAny(answer, Task.Delay(1));
        }
        return (await answer).ShouldNotBeNull();
    }
}
