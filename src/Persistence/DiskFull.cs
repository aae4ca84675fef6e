using Microsoft.Data.Sqlite;
using Npgsql;

namespace ArmoFlow.Persistence;

/// <summary>Tells a full disk from other failures, whoever ran into it: the file system, SQLite or Postgres.</summary>
public static class DiskFull
{
    private const int NoSpace = 28, QuotaExceeded = 122; // ENOSPC, EDQUOT
    private const int SqliteFull = 13, SqliteSharedMemorySize = 4874; // the index of the write-ahead log could not grow

    public const string Remedy = "Free some space (armoflow gc removes what nothing needs any more), then ask again.";

    public static bool Is(Exception? fault) => fault switch
    {
        null => false,
        IOException when (fault.HResult & 0xffff) is NoSpace or QuotaExceeded => true,
        SqliteException sqlite when sqlite.SqliteErrorCode == SqliteFull || sqlite.SqliteExtendedErrorCode == SqliteSharedMemorySize =>
            true,
        PostgresException { SqlState: PostgresErrorCodes.DiskFull } => true,
        AggregateException several => several.InnerExceptions.Any(Is),
        _ => Is(fault.InnerException),
    };
}
