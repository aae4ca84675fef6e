using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Work;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Workers.Tests;

public sealed class LogKeeperTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-logs-").FullName;
    private readonly ServiceProvider _services;

    public LogKeeperTests()
    {
        Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        _services = new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).AddWorkers().BuildServiceProvider();
    }

    public async ValueTask InitializeAsync()
    {
        await using ArmoFlowDbContext db =
            await _services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync();
        await db.Database.MigrateAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await _services.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_log_that_was_being_entered_as_the_process_was_asked_to_end_is_entered_as_it_leaves()
    {
        RunningWork running = _services.GetRequiredService<RunningWork>();
        LogKeeper keeper = _services.GetRequiredService<LogKeeper>();
        Guid run = Guid.NewGuid();
        WorkInHand work = running.Begin(run, "evaluation", 0, 6, default);
        work.Log.End(LogOutcome.Done, "this slice of work");
        running.End(work);
        using CancellationTokenSource ending = new();
        await ending.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(() => keeper.EnterEnded(ending.Token));
        StepLogStore store = _services.GetRequiredService<StepLogStore>();
        (await store.Of(run, null, default)).ShouldBeEmpty();
        (await keeper.EnterEnded(default)).ShouldBeFalse("no more is left");
        StepLog log = (await store.Of(run, null, default)).ShouldHaveSingleItem();
        (log.Outcome, log.Sha256 is null).ShouldBe((LogOutcome.Done, false));
    }
}
