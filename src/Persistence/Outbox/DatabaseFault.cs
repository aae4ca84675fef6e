using System.Net.Sockets;
using MassTransit;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>
/// Faults of the servers underneath, as against those of the work: they pass, and say nothing about the step. The one list of
/// them.
/// </summary>
public static class DatabaseFault
{
    private const int SqliteBusy = 5, SqliteLocked = 6;
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
