using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Runs;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Shouldly;
using Xunit;

namespace ArmoFlow.Persistence.Tests;

/// <summary>A workspace after a process that was killed, and beside one that works on it.</summary>
public sealed class WorkspaceTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-workspace-").FullName;

    public void Dispose()
    {
        SqliteConnection.ClearAllPools();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task A_lock_on_the_schema_that_a_killed_process_left_keeps_nobody_waiting()
    {
        using Workspace workspace = new(_folder);
        workspace.TryLock().ShouldBeTrue();
        await using ServiceProvider services =
            new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = await services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>()
            .CreateDbContextAsync(TestContext.Current.CancellationToken);
        using CancellationTokenSource limit = new(TimeSpan.FromSeconds(30));
        await Schema.MigrateWorkspace(db, limit.Token);
        await db.Database.ExecuteSqlRawAsync("create table if not exists \"__EFMigrationsLock\" (\"Id\" integer not null primary key, "
            + "\"Timestamp\" text not null)",
            limit.Token);
        await db.Database.ExecuteSqlRawAsync("insert into \"__EFMigrationsLock\" values (1, '2026-11-26 00:00:00')", limit.Token);
        await Schema.MigrateWorkspace(db, limit.Token);
        (await db.Database.GetPendingMigrationsAsync(limit.Token)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_reader_in_the_midst_of_its_reading_keeps_no_change_waiting()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        using Workspace workspace = new(_folder);
        await File.Create(workspace.Database).DisposeAsync(); // somebody looked before it was made
        await using ServiceProvider services =
            new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await using ArmoFlowDbContext db = await services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>()
            .CreateDbContextAsync(cancel);
        await Schema.MigrateWorkspace(db, cancel);
        await using SqliteConnection reader = new(WorkspaceDatabase.Connection(workspace));
        await reader.OpenAsync(cancel);
        await using SqliteCommand reading = reader.CreateCommand();
        reading.CommandText = "select name from sqlite_master";
        await using SqliteDataReader rows = await reading.ExecuteReaderAsync(cancel);
        (await rows.ReadAsync(cancel)).ShouldBeTrue();
        db.ControlRequests.Add(new ControlRequest { RunId = Guid.NewGuid(), Action = RunAction.Pause });
        await db.SaveChangesAsync(cancel);
        (await rows.ReadAsync(cancel)).ShouldBeTrue("the reader is not done");
    }

    [Fact]
    public void Whether_somebody_works_on_it_is_seen_without_taking_it()
    {
        using Workspace holder = new(_folder), other = new(_folder);
        other.IsHeld().ShouldBeFalse();
        holder.TryLock().ShouldBeTrue();
        (holder.IsHeld(), other.IsHeld(), other.TryLock()).ShouldBe((true, true, false));
        holder.Dispose();
        other.IsHeld().ShouldBeFalse();
        other.TryLock().ShouldBeTrue("looking held nobody up");
    }

    [Fact]
    public async Task A_look_at_the_moment_of_a_start_does_not_refuse_the_start()
    {
        using Workspace made = new(_folder);
        made.TryLock().ShouldBeTrue();
        made.Dispose();
        using CancellationTokenSource end = new();
        Task looking = Task.Run(() =>
        {
            Workspace looker = new(_folder);
            while (!end.IsCancellationRequested) looker.IsHeld();
        }, TestContext.Current.CancellationToken);
        for (int i = 0; i < 50; i++)
        {
            using Workspace starter = new(_folder);
            (await starter.TakeLock(TestContext.Current.CancellationToken)).ShouldBeTrue();
        }
        await end.CancelAsync();
        await looking;
    }
}
