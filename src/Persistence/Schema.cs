using System.Diagnostics;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Npgsql;

namespace ArmoFlow.Persistence;

/// <summary>
/// Brings the database's schema up to date, one process at a time, and never waits without a word. Entity Framework has a lock of its own:
/// on SQLite a row that outlives a killed process, on Postgres a table that does not exist yet when two make it.
/// </summary>
public static class Schema
{
    private const long PostgresLock = 0x61726d6f666c6f77; // "armoflow"
    private static readonly TimeSpan LookInterval = TimeSpan.FromMilliseconds(200), Impatience = TimeSpan.FromSeconds(30);

    /// <summary>
    /// A workspace's database. The caller holds the workspace (<see cref="Workspace.TryLock"/>): who took the lock's row is no more.
    /// </summary>
    public static async Task MigrateWorkspace(ArmoFlowDbContext db, CancellationToken cancel)
    {
        // With a write-ahead log readers and the writer do not wait for one another. Entity Framework asks for one only where it makes the
        // file itself, which whoever looked first, such as the next line, has done.
        await db.Database.ExecuteSqlRawAsync("pragma journal_mode = wal", cancel);
        if (!(await db.Database.GetPendingMigrationsAsync(cancel)).Any()) return;
        await db.Database.ExecuteSqlRawAsync("drop table if exists \"__EFMigrationsLock\"", cancel);
        await db.Database.MigrateAsync(cancel);
    }

    /// <summary>The servers' database; of several that ask at once one migrates, and the others wait and find it done.</summary>
    /// <param name="db">The database.</param>
    /// <param name="connection">The connection string, for a connection that only holds the lock: both end with the process.</param>
    /// <param name="afterwards">What is done before the next is let in.</param>
    /// <param name="say">Hears why it takes long.</param>
    /// <param name="cancel">Gives up waiting.</param>
    public static async Task MigrateServer(
        ArmoFlowDbContext db, string connection, Func<Task> afterwards, Action<string> say, CancellationToken cancel)
    {
        NpgsqlConnectionStringBuilder own = new(connection) { Pooling = false, ApplicationName = "armoflow db migrate" };
        await using NpgsqlConnection holder = new(own.ConnectionString);
        await holder.OpenAsync(cancel);
        long since = Stopwatch.GetTimestamp();
        TimeSpan nextWord = TimeSpan.Zero;
        while (!await TryLock(holder, cancel))
        {
            TimeSpan waited = Stopwatch.GetElapsedTime(since);
            if (waited >= nextWord)
            {
                nextWord = waited + Impatience;
                say($"waiting for another process that brings Postgres's schema up to date ({waited.TotalSeconds:f0} s)");
            }
            await Task.Delay(LookInterval, cancel);
        }
        await db.Database.MigrateAsync(cancel);
        await afterwards();
    }

    /// <summary>
    /// What SQLite and Postgres have in common. That the newest migration is the model is a test of this project: to compare them at
    /// each migration takes longer than to migrate.
    /// </summary>
    public static DbContextOptionsBuilder UseSchema(this DbContextOptionsBuilder options) => options.UseSnakeCaseNamingConvention()
        .ConfigureWarnings(warnings => warnings.Ignore(RelationalEventId.PendingModelChangesWarning));

    private static async Task<bool> TryLock(NpgsqlConnection connection, CancellationToken cancel)
    {
        await using NpgsqlCommand command = new($"select pg_try_advisory_lock({PostgresLock})", connection);
        return (bool)(await command.ExecuteScalarAsync(cancel))!;
    }
}
