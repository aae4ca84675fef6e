using ArmoFlow.Persistence.Artifacts;
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

/// <summary>
/// What is done where not even a message's effects can be entered in the database: what was set aside for this is given up first, and
/// then whoever waits for the message is told.
/// </summary>
public sealed class DiskFullSignal(ScratchSpace scratch)
{
    private readonly TaskCompletionSource<Exception> _isStuck = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Waits until there is no room left though nothing is set aside any more; returns the fault.</summary>
    public Task<Exception> Wait(CancellationToken cancel) => _isStuck.Task.WaitAsync(cancel);

    /// <summary>Says that the disk was full; the message is tried again.</summary>
    public void Raise(Exception fault)
    {
        if (!scratch.SpendReserve()) _isStuck.TrySetResult(fault);
    }
}
