using System.Net.Sockets;
using MassTransit;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>
/// Faults of the servers underneath, as against those of the work: they pass, and say nothing about the step. The one list of
/// them.
/// </summary>
public static class DatabaseFault
{
    private const int SqliteBusy = 5, SqliteLocked = 6, SqliteReadOnly = 8, SqliteCannotOpen = 14;
    private const string ConnectionClass = "08"; // connection exceptions

    /// <summary>What a server says that restarts, fails over to its standby, is full, or has others in the way.</summary>
    private static readonly HashSet<string> Passing =
    [
        PostgresErrorCodes.ReadOnlySqlTransaction, // a standby, or a primary that became one
        PostgresErrorCodes.AdminShutdown,
        PostgresErrorCodes.CrashShutdown,
        PostgresErrorCodes.CannotConnectNow,
        PostgresErrorCodes.SerializationFailure,
        PostgresErrorCodes.DeadlockDetected,
        PostgresErrorCodes.TooManyConnections,
        PostgresErrorCodes.ConfigurationLimitExceeded,
        PostgresErrorCodes.InsufficientResources,
        PostgresErrorCodes.OutOfMemory,
        PostgresErrorCodes.LockNotAvailable,
        PostgresErrorCodes.ObjectInUse,
        "25P03", // idle_in_transaction_session_timeout
        "57P05", // idle_session_timeout
    ];

    /// <summary>What EF's own exceptions wrap; null for what is none of them.</summary>
    public static Exception? Cause(Exception e) => e switch
    {
        DbUpdateException { InnerException: { } inner } => inner,
        InvalidOperationException { InnerException: NpgsqlException inner } => inner,
        _ => null,
    };

    /// <summary>What is wrong with the database, for its user to mend; null for what is none of the database's faults.</summary>
    public static string? Explain(Exception e) => e switch
    {
        SqliteException when DiskFull.Is(e) => $"no space left on the disk for the workspace's database. {DiskFull.Remedy}",
        SqliteException { SqliteErrorCode: SqliteReadOnly or SqliteCannotOpen } =>
            "the workspace's database can only be read here: its folder is read-only for this user, or its disk is full. "
                + "Check permissions and free space, or use another --workspace.",
        SqliteException { SqliteErrorCode: SqliteBusy } =>
            "the workspace's database is held by another process. Wait for it, or use another --workspace.",
        _ when DiskFull.Is(e) => null, // whose, the caller knows
        PostgresException postgres =>
            $"Postgres: {postgres.MessageText}. Check the connection string (--postgres or ARMOFLOW_POSTGRES).",
        NpgsqlException =>
            $"Postgres does not answer: {e.Message}. Check the connection string (--postgres or ARMOFLOW_POSTGRES), and that the server "
                + "runs.",
        _ => null,
    };

    /// <summary>Why Postgres does not answer yet; null for what will not mend itself, such as a wrong password.</summary>
    public static string? WhyAway(Exception e)
    {
        NpgsqlException? cause = e as NpgsqlException ?? e.InnerException as NpgsqlException; // EF wraps what Npgsql says
        bool mendsItself = cause is not null && (cause is not PostgresException || IsTransient(cause));
        return mendsItself ? cause!.Message.TrimEnd('.') : null;
    }

    public static bool IsTransient(Exception fault)
    {
        for (Exception? e = fault; e is not null; e = e.InnerException)
        {
            if (IsOfServer(e)) return true;
            if (e is AggregateException several && several.InnerExceptions.Any(IsTransient)) return true;
        }
        return false;
    }

    private static bool IsOfServer(Exception e) => e switch
    {
        PostgresException postgres => Passes(postgres.SqlState) || postgres.IsTransient,
        NpgsqlException npgsql => npgsql.IsTransient,
        SqliteException sqlite => sqlite.SqliteErrorCode is SqliteBusy or SqliteLocked,
        SocketException or ConnectionException or TransportUnavailableException => true,
        _ => false,
    };

    /// <summary>True for an SQL state that a later try may not meet again.</summary>
    public static bool Passes(string sqlState) =>
        Passing.Contains(sqlState) || sqlState.StartsWith(ConnectionClass, StringComparison.Ordinal);
}
