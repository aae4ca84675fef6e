using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Outbox;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence;

/// <summary>What several stores change, and the messages that this causes, in one transaction: all of it, or nothing.</summary>
public sealed class UnitOfWork : IAsyncDisposable
{
    private readonly IDbContextTransaction _transaction;
    private readonly OutboxSignal _signal;

    internal UnitOfWork(ArmoFlowDbContext database, IDbContextTransaction transaction, OutboxSignal signal)
    {
        Database = database;
        _transaction = transaction;
        _signal = signal;
    }

    internal ArmoFlowDbContext Database { get; }

    /// <summary>Enters an event of the audit trail.</summary>
    public void Note(string action, string subject, object? before = null, object? after = null) =>
        Database.Note(action, subject, before, after);

    /// <summary>Saves what was changed, and ends the transaction: without this nothing has happened.</summary>
    public async Task Commit(CancellationToken cancel)
    {
        await Database.SaveChangesAsync(cancel);
        await _transaction.CommitAsync(cancel);
        _signal.Raise(); // what is sent is there to be seen only now
    }

    public async ValueTask DisposeAsync()
    {
        await _transaction.DisposeAsync();
        await Database.DisposeAsync();
    }
}

/// <summary>Begins units of work.</summary>
public sealed class UnitsOfWork(IDbContextFactory<ArmoFlowDbContext> contexts, OutboxSignal signal)
{
    public async Task<UnitOfWork> Begin(CancellationToken cancel)
    {
        ArmoFlowDbContext database = await contexts.CreateDbContextAsync(cancel);
        try { return new UnitOfWork(database, await database.Database.BeginTransactionAsync(cancel), signal); }
        catch
        {
            await database.DisposeAsync();
            throw;
        }
    }
}
