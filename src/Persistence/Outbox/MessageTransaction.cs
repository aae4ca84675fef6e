using System.Data;
using ArmoFlow.Persistence.Faults;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>
/// The one transaction of a message: its effects, its inbox row and what it sends. It begins with the first effect, so that long
/// work holds no locks, and the inbox row is its first: of two copies of a message, one gets no further.
/// </summary>
public sealed class MessageTransaction(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    DeliveredMarks marks,
    TimeProvider time,
    Guid messageId,
    Guid consumerId) : IAsyncDisposable
{
    private ArmoFlowDbContext? _db;
    private IDbContextTransaction? _transaction;
    private long _inboxId;
    private long[] _sent = [];

    private DateTime Now => time.GetUtcNow().UtcDateTime;

    /// <summary>True once it is known that another copy of the message was dealt with.</summary>
    public bool IsDuplicate { get; private set; }

    /// <summary>What the consumer has sent; entered with its effects, and on the wire once these are committed.</summary>
    internal List<OutboxMessage> Messages { get; } = [];

    /// <summary>What the consumer has sent and nobody would ever take; entered with its effects.</summary>
    internal List<FaultRow> SetAside { get; } = [];

    /// <summary>What is to be done once the effects are in the database; its loss harms nothing.</summary>
    public Func<Task>? AfterCommit { get; set; }

    /// <summary>The database, for this message's effects. Saved and committed when its consumer returns.</summary>
    /// <exception cref="InvalidOperationException">The transaction has not begun, or is another's.</exception>
    public ArmoFlowDbContext Database =>
        _transaction is not null ? _db! : throw new InvalidOperationException("begin the transaction first");

    /// <summary>Takes back everything that was entered and is still to be sent, so that only what follows is.</summary>
    public async Task StartOver()
    {
        lock (Messages)
        {
            Messages.Clear();
            SetAside.Clear();
        }
        AfterCommit = null;
        _inboxId = 0;
        await DisposeAsync();
    }

    /// <summary>Begins; false where another copy of the message was dealt with, and nothing is to be done.</summary>
    public async Task<bool> TryBegin(CancellationToken cancel)
    {
        if (IsDuplicate || _transaction is not null) return !IsDuplicate;
        _db = await contexts.CreateDbContextAsync(cancel);
        IsolationLevel isolation = _db.Database.IsNpgsql() ? IsolationLevel.ReadCommitted : IsolationLevel.Serializable;
        _transaction = await _db.Database.BeginTransactionAsync(isolation, cancel);
        DateTime now = Now;
        List<long> inserted =
            await _db.Database.SqlQuery<long>($"""
                insert into inbox_state (message_id, consumer_id, lock_id, received, receive_count, consumed)
                values ({messageId}, {consumerId}, {Guid.NewGuid()}, {now}, 1, {now})
                on conflict (message_id, consumer_id) do nothing returning id as "Value"
                """).ToListAsync(cancel);
        IsDuplicate = inserted.Count == 0;
        if (!IsDuplicate) _inboxId = inserted[0];
        if (IsDuplicate) await DisposeAsync();
        return !IsDuplicate;
    }

    public async Task Commit(CancellationToken cancel)
    {
        foreach (OutboxMessage message in Messages)
        {
            message.InboxMessageId = messageId;
            message.InboxConsumerId = consumerId;
        }
        Database.Faults.AddRange(SetAside);
        Database.OutboxMessages.AddRange(Messages);
        await Database.SaveChangesAsync(cancel);
        _sent = [.. Messages.Select(m => m.SequenceNumber)];
        if (Messages.Count == 0)
        {
            await Database.InboxStates.Where(i => i.Id == _inboxId)
                .ExecuteUpdateAsync(set => set.SetProperty(i => i.Delivered, Now), cancel);
        }
        await _transaction!.CommitAsync(cancel);
        await DisposeAsync();
        if (AfterCommit is { } next) await next();
    }

    /// <summary>What an earlier copy of the message left to be sent; null if that is nothing.</summary>
    public async Task<IReadOnlyList<OutboxMessage>> Undelivered(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.OutboxMessages.AsNoTracking()
            .Where(m => m.InboxMessageId == messageId && m.InboxConsumerId == consumerId)
            .OrderBy(m => m.SequenceNumber)
            .ToListAsync(cancel);
    }

    /// <summary>Forgets what has been sent: soon, with others', if this transaction sent it, else at once.</summary>
    public async Task Delivered(CancellationToken cancel)
    {
        if (_inboxId > 0)
        {
            marks.Add(_inboxId, _sent);
            return;
        }
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.OutboxMessages.Where(m => m.InboxMessageId == messageId && m.InboxConsumerId == consumerId).ExecuteDeleteAsync(cancel);
        await db.InboxStates.Where(i => i.MessageId == messageId && i.ConsumerId == consumerId)
            .ExecuteUpdateAsync(set => set.SetProperty(i => i.Delivered, Now), cancel);
    }

    public async ValueTask DisposeAsync()
    {
        if (_transaction is not null) await _transaction.DisposeAsync(); // rolls back what was not committed
        if (_db is not null) await _db.DisposeAsync();
        _transaction = null;
        _db = null;
    }
}
