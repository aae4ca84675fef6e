using System.Net.Sockets;
using MassTransit;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>Faults of the servers underneath, as against those of the work: they pass, and say nothing about the step.</summary>
public static class BooksFault
{
    private const int SqliteBusy = 5, SqliteLocked = 6;

    public static bool IsTransient(Exception fault)
    {
        for (Exception? e = fault; e is not null; e = e.InnerException)
            if (e is NpgsqlException { IsTransient: true } or PostgresException { SqlState: PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow }
                or SqliteException { SqliteErrorCode: SqliteBusy or SqliteLocked } or SocketException or ConnectionException or TransportUnavailableException)
                return true;
        return false;
    }
}
