using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Regression;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel;
using MassTransit;
using MassTransit.Testing;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Workers.Tests;

/// <summary>What all steps share, with a step whose work each test decides.</summary>
public sealed class StepConsumerTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-steps-").FullName;
    private readonly Workspace _workspace;
    private readonly ServiceProvider _services;

    public StepConsumerTests()
    {
        _workspace = new Workspace(_folder);
        _workspace.TryLock().ShouldBeTrue();
        _services = new ServiceCollection().AddLogging().AddEmbeddedPersistence(_workspace).AddWorkers().AddSingleton<Script>()
            .AddMassTransitTestHarness(bus =>
            {
                bus.SetTestTimeouts(TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(20));
                bus.UseConsumerOutbox();
                bus.AddConsumer<ScriptedConsumer, ScriptedDefinition>();
                bus.AddConsumer<Ear>();
                bus.AddConsumer<StopWorkConsumer, StopWorkConsumerDefinition>();
            }).BuildServiceProvider(true);
    }

    /// <summary>Hears what the step publishes: through the outbox the harness sees no typed send.</summary>
    public sealed class Ear : IConsumer<RegressionFitted>, IConsumer<StepFailed>, IConsumer<StepReleased>, IConsumer<ArtifactLost>
    {
        public Task Consume(ConsumeContext<StepReleased> context) => Task.CompletedTask;
        public Task Consume(ConsumeContext<ArtifactLost> context) => Task.CompletedTask;
        public Task Consume(ConsumeContext<RegressionFitted> context) => Task.CompletedTask;
        public Task Consume(ConsumeContext<StepFailed> context) => Task.CompletedTask;
    }

    /// <summary>What the step does at each call.</summary>
    public sealed class Script
    {
        public int Calls { get; set; }
        public Func<int, StepRun, Task<StepWork>> Work { get; set; } = (_, _) => Task.FromResult(StepWork.More);
        public Func<MessageTransaction, Task> Enter { get; set; } = _ => Task.CompletedTask;
    }

    public sealed class ScriptedDefinition() : StepConsumerDefinition<ScriptedConsumer>("scripted");

    public sealed class ScriptedConsumer(
        StepServices services,
        Script script) : StepConsumer<FitRegression, RegressionFitted>(services)
    {
        protected override Task<StepPlan> Plan(StepRun run) =>
            Task.FromResult(new StepPlan(new { run.Spec.Name }, new Dictionary<string, ArtifactRef>()));
        protected override async Task<StepWork> Work(StepRun run, ConsumeContext context)
        {
            await script.Enter(context.GetPayload<MessageTransaction>());
            return await script.Work(++script.Calls, run);
        }
    }

    private ITestHarness Harness => _services.GetRequiredService<ITestHarness>();
    private Script Steps => _services.GetRequiredService<Script>();

    public async ValueTask InitializeAsync()
    {
        await using (ArmoFlowDbContext db =
            await _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync())
            await db.Database.MigrateAsync();
        await Harness.Start();
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        _workspace.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_transient_fault_is_retried_and_the_step_succeeds()
    {
        Steps.Work = async (call, run) => call < 3 ? throw new IOException("the network share hiccups") : await Done(run);
        await Ask();
        (await Harness.Consumed.Any<RegressionFitted>()).ShouldBeTrue();
        Steps.Calls.ShouldBe(3);
    }

    [Fact]
    public async Task A_fault_that_stays_fails_the_step_after_the_retries_and_not_as_bad_input()
    {
        Steps.Work = (_, _) => throw new IOException("the share is gone");
        await Ask();
        StepFailed failed = await Failure();
        (failed.BadInput, failed.Error).ShouldBe((false, "IOException: the share is gone"));
        Steps.Calls.ShouldBe(5);
    }

    [Fact]
    public async Task Bad_input_fails_the_step_at_once()
    {
        Steps.Work = (_, _) => throw new InvalidInputException("file line 3", "a hole", "none", "Fill it.");
        await Ask();
        StepFailed failed = await Failure();
        (failed.BadInput, failed.Error).ShouldBe((true, "file line 3: a hole; expected none. Fill it."));
        Steps.Calls.ShouldBe(1);
    }

    [Fact]
    public async Task A_full_disk_is_the_user_s_to_mend_and_spends_the_reserve()
    {
        Steps.Work = (_, _) => throw new IOException("No space left on device", 28);
        await Ask();
        StepFailed failed = await Failure();
        failed.BadInput.ShouldBeTrue();
        failed.Error.ShouldContain("no space left");
        File.Exists(Path.Combine(_folder, "reserve")).ShouldBeFalse();
    }

    [Fact]
    public async Task Work_is_done_in_slices_and_then_found_by_its_key()
    {
        Steps.Work = async (call, run) =>
        {
            await File.WriteAllTextAsync(Path.Combine(run.Scratch, "state"), $"{call}");
            return call < 4 ? StepWork.More : await Done(run);
        };
        await Ask();
        (await Harness.Consumed.Any<RegressionFitted>(m => !m.Context.Message.Reused)).ShouldBeTrue();
        Steps.Calls.ShouldBe(4);
        Directory.EnumerateFileSystemEntries(_workspace.Scratch.Folder).ShouldBeEmpty("the scratch folder goes with the step");
        await Ask();
        (await Harness.Consumed.Any<RegressionFitted>(m => m.Context.Message.Reused)).ShouldBeTrue();
        Steps.Calls.ShouldBe(4);
        await Ask("another name is another key");
        (await Harness.Consumed.Any<RegressionFitted>(m => m.Context.Message.StepKey != FirstKey())).ShouldBeTrue();
        Steps.Calls.ShouldBe(5);
    }

    [Fact]
    public async Task Stopping_a_run_cancels_its_work_and_tells_nobody_that_it_failed()
    {
        TaskCompletionSource started = new(), stopped = new();
        Steps.Work = async (_, run) =>
        {
            started.SetResult();
            using CancellationTokenRegistration registration = run.Cancel.Register(stopped.SetResult);
            await stopped.Task;
            run.Cancel.ThrowIfCancellationRequested();
            return StepWork.More;
        };
        Guid id = await Ask();
        await started.Task;
        await Harness.Bus.Publish(new StopWork(Guid.NewGuid()), TestContext.Current.CancellationToken);
        stopped.Task.IsCompleted.ShouldBeFalse("another run was stopped");
        await Harness.Bus.Publish(new StopWork(id), TestContext.Current.CancellationToken);
        await stopped.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        (await Harness.Consumed.Any<FitRegression>()).ShouldBeTrue();
        Harness.Consumed.Select<StepFailed>(new CancellationToken(canceled: true)).ShouldBeEmpty("what is there by now");
    }

    [Fact]
    public async Task Of_two_runs_of_the_same_work_one_does_it_and_the_other_is_told()
    {
        Guid waiting = Guid.NewGuid();
        Steps.Work = async (call, run) =>
        {
            if (call == 1) await Ask(id: waiting); // another run needs the same while this one is between its slices
            return call < 4 ? StepWork.More : await Done(run);
        };
        await Ask();
        (await Harness.Consumed.Any<StepReleased>(m => m.Context.Message == new StepReleased(waiting, 1))).ShouldBeTrue();
        Steps.Calls.ShouldBe(4);
        await using ArmoFlowDbContext db = await Database();
        (await db.StepClaims.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(0, "the claims end with the work");
    }

    [Fact]
    public async Task A_lost_artifact_takes_the_trust_from_what_is_said_to_have_made_it()
    {
        string sha256 = new('a', 64);
        await using (ArmoFlowDbContext db = await Database())
        {
            db.StepResults.Add(new StepResult
            {
                Key = "maker",
                Step = "features",
                Artifacts = [new StepArtifact { Key = "maker", IsOutput = true, Name = "features", Sha256 = sha256 }]
            });
            await db.SaveChangesAsync(TestContext.Current.CancellationToken);
        }
        Steps.Work = (_, _) => throw new ArtifactLostException(sha256, "its bytes have changed");
        await Ask();
        (await Harness.Consumed.Any<ArtifactLost>()).ShouldBeTrue();
        await using ArmoFlowDbContext after = await Database();
        (await after.StepResults.SingleAsync(TestContext.Current.CancellationToken)).IsStale.ShouldBeTrue();
    }

    [Fact]
    public async Task What_fails_half_way_leaves_nothing_in_the_books()
    {
        Steps.Enter = async transaction =>
        {
            (await transaction.TryBegin(default)).ShouldBeTrue();
            transaction.Database.Settings.Add(new Setting { Key = "half", Value = "done" });
            await transaction.Database.SaveChangesAsync();
        };
        Steps.Work = (_, _) => throw new InvalidInputException("file line 3", "a hole", "none", "Fill it.");
        await Ask();
        await Failure();
        await using ArmoFlowDbContext db = await Database();
        (await db.Settings.AnyAsync(s => s.Key == "half", TestContext.Current.CancellationToken)).ShouldBeFalse();
    }

    [Fact]
    public async Task The_spec_is_read_from_the_runs_row_by_the_digest_that_the_command_names()
    {
        RunState run = await EnterRun("of the row");
        string worked = "";
        Steps.Work = async (_, step) =>
        {
            worked = step.Spec.Name;
            return await Done(step);
        };
        await Send(Command(run, run.SpecDigest));
        (await Harness.Consumed.Any<RegressionFitted>(m => m.Context.Message.RunId == run.CorrelationId)).ShouldBeTrue();
        worked.ShouldBe("of the row");
    }

    [Fact]
    public async Task A_command_that_names_another_spec_than_the_row_holds_fails_its_step_at_once()
    {
        RunState run = await EnterRun("of the row");
        string other = new('0', 64);
        await Send(Command(run, other));
        StepFailed failed = await Failure();
        (failed.RunId, failed.Attempt, failed.BadInput).ShouldBe((run.CorrelationId, run.Attempt, false));
        failed.Error.ShouldContain(run.SpecDigest);
        failed.Error.ShouldContain(other);
        Steps.Calls.ShouldBe(0);
        await using ArmoFlowDbContext db = await Database();
        (await db.Faults.CountAsync(TestContext.Current.CancellationToken)).ShouldBe(0);
    }

    [Fact]
    public async Task An_asking_without_a_spec_is_dropped_where_the_run_is_gone_or_has_gone_on()
    {
        RunState run = await EnterRun("of the row");
        Steps.Work = (_, step) => Done(step);
        await Send(Command(run, run.SpecDigest) with { RunId = Guid.NewGuid() });
        await Send(Command(run, run.SpecDigest) with { Attempt = run.Attempt - 1 });
        await Send(Command(run, run.SpecDigest)); // after these two in the same queue
        (await Harness.Consumed.Any<RegressionFitted>(m => m.Context.Message.RunId == run.CorrelationId)).ShouldBeTrue();
        Steps.Calls.ShouldBe(1);
        Harness.Consumed.Select<StepFailed>(new CancellationToken(canceled: true)).ShouldBeEmpty("what is there by now");
    }

    private async Task<RunState> EnterRun(string name)
    {
        RunState run = new() { CorrelationId = Guid.NewGuid(), Attempt = 2, CurrentState = StepCatalogue.Find(StepNames.Regression).State };
        run.Open(Spec(name), DateTimeOffset.UtcNow);
        await using ArmoFlowDbContext db = await Database();
        db.Runs.Add(run);
        await db.SaveChangesAsync();
        return run;
    }

    private static FitRegression Command(RunState run, string digest) =>
        new() { RunId = run.CorrelationId, Attempt = run.Attempt, Inputs = [], SpecDigest = digest };

    private async Task Send(FitRegression command) => await (await Harness.Bus.GetSendEndpoint(new Uri("queue:scripted"))).Send(command);

    private static RunSpec Spec(string name) =>
        new() { Name = name, Folder = "/", Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [] };

    private Task<ArmoFlowDbContext> Database() =>
        _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();

    private static async Task<StepWork> Done(StepRun run) =>
        new StepWork.Done(new Dictionary<string, ArtifactRef> { ["result"] = await run.PutJson(new { ok = true }) }, "done", new { });

    private async Task<Guid> Ask(string name = "name", Guid? id = null)
    {
        id ??= Guid.NewGuid();
        await Send(new FitRegression { RunId = id.Value, Attempt = 1, Inputs = [], Spec = Spec(name) });
        return id.Value;
    }

    private string FirstKey() => Harness.Consumed.Select<RegressionFitted>().First().Context.Message.StepKey;

    private async Task<StepFailed> Failure()
    {
        (await Harness.Consumed.Any<StepFailed>()).ShouldBeTrue();
        return Harness.Consumed.Select<StepFailed>().First().Context.Message;
    }
}
