using System.Data.Common;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Orchestrator.Tests;

/// <summary>Watching costs by the runs that are watched, not by those who watch.</summary>
public sealed class RunWatchTests : ClockedDatabase
{
    private const int Watchers = 200;
    private readonly Counter _queries = new();

    protected override void Configure(IServiceCollection services) =>
        services.ConfigureDbContext<ArmoFlowDbContext>(o => o.AddInterceptors(_queries));

    [Fact]
    public async Task Two_hundred_watchers_of_a_run_cost_the_books_no_more_than_a_few()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        RunSpec spec = new() { Name = "name", Folder = "/", Backbone = new BackboneSpec("b"), Ratings = [], Preferences = [] };
        Guid id = await Services.GetRequiredService<RunService>().Submit(spec, cancel);
        RunQueries queries = Services.GetRequiredService<RunQueries>();
        await queries.Find(id, cancel);
        int before = _queries.Count;
        await queries.Find(id, cancel);
        int single = _queries.Count - before;

        RunWatch watch = Services.GetRequiredService<RunWatch>();
        TaskCompletionSource allSaw = new();
        int saw = 0;
        before = _queries.Count;
        Task<RunStatus>[] watching = [.. Enumerable.Range(0, Watchers).Select(_ => Task.Run(Watch))];
        await allSaw.Task.WaitAsync(TimeSpan.FromMinutes(1), cancel);
        (_queries.Count - before).ShouldBeLessThan(Watchers / 4 * single);
        await End();
        (await Task.WhenAll(watching)).ShouldAllBe(status => status == RunStatus.Completed);

        async Task<RunStatus> Watch()
        {
            RunStatus last = RunStatus.Submitted;
            await foreach (RunEvent change in watch.Changes(id, cancel))
            {
                last = change.Run.Status;
                if (last == RunStatus.Submitted && Interlocked.Increment(ref saw) == Watchers) allSaw.SetResult();
            }
            return last;
        }
    }

    [Fact]
    public void Progress_is_kept_of_so_many_runs()
    {
        using ProgressBoard board = new();
        Guid[] runs = [.. Enumerable.Range(0, 10_100).Select(_ => Guid.NewGuid())];
        foreach (Guid run in runs) board.Put(new StepProgressed { RunId = run, Step = "features", Done = 1, Total = 2, Unit = "rows" });
        runs.Count(r => board.Of(r) is not null).ShouldBeLessThanOrEqualTo(10_000);
        board.Of(runs[0]).ShouldNotBeNull();
    }

    private sealed class Counter : DbCommandInterceptor
    {
        private int _count;

        public int Count => _count;

        public override DbDataReader ReaderExecuted(DbCommand command, CommandExecutedEventData eventData, DbDataReader result)
        {
            Interlocked.Increment(ref _count);
            return result;
        }

        public override ValueTask<DbDataReader> ReaderExecutedAsync(DbCommand command, CommandExecutedEventData eventData,
            DbDataReader result, CancellationToken cancellationToken = default)
        {
            Interlocked.Increment(ref _count);
            return ValueTask.FromResult(result);
        }
    }
}
