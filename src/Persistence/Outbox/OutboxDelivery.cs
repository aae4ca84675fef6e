using System.Diagnostics;
using MassTransit;
using MassTransit.Logging;
using MassTransit.Middleware;
using MassTransit.Serialization;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>
/// Sends what <see cref="BusOutbox"/> committed, in batches that several processes can take side by side; once a minute also
/// what a consumer committed and never came to send, and clears the inbox of what is too old to come again.
/// </summary>
public sealed class OutboxDelivery(IDbContextFactory<ArmoFlowDbContext> contexts, IBus bus, OutboxSignal signal, DeliveredMarks marks, ILogger<OutboxDelivery> log) : BackgroundService
{
    private const int BatchSize = 100, ClearedAtOnce = 5000;
    private static readonly TimeSpan Poll = TimeSpan.FromSeconds(20), Rest = TimeSpan.FromSeconds(1), UpkeepInterval = TimeSpan.FromMinutes(1), OrphanAge = TimeSpan.FromMinutes(1), Window = TimeSpan.FromHours(2);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Task listening = Listen(stoppingToken);
        DateTime upkeep = DateTime.UtcNow; // at the start: a crash may have left something
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (DateTime.UtcNow >= upkeep)
                {
                    await Upkeep(stoppingToken);
                    upkeep = DateTime.UtcNow + UpkeepInterval;
                }
                if (await DeliverBatch(stoppingToken) == 0) await signal.Wait(Poll, stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested) { break; }
            catch (Exception e)
            {
                log.LogWarning("outbox: {Message}; trying again", e.Message);
                await Task.Delay(Rest, stoppingToken).ContinueWith(_ => { }, CancellationToken.None);
            }
        }
        await listening;
    }

    private async Task<int> DeliverBatch(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (!db.Database.IsNpgsql() && !await db.OutboxStates.AnyAsync(cancel)) return 0; // SQLite admits one writer: do not be it for nothing
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        IQueryable<OutboxState> oldest = db.Database.IsNpgsql()
            ? db.OutboxStates.FromSql($"select * from outbox_state order by created limit {BatchSize} for update skip locked")
            : db.OutboxStates.OrderBy(o => o.Created).Take(BatchSize);
        Dictionary<Guid, DateTime> claimed = await oldest.AsNoTracking().ToDictionaryAsync(o => o.OutboxId, o => o.Created, cancel);
        if (claimed.Count == 0) return 0;
        Guid?[] ids = [.. claimed.Keys];
        await Send(await db.OutboxMessages.AsNoTracking().Where(m => ids.Contains(m.OutboxId)).OrderBy(m => m.SequenceNumber).ToListAsync(cancel), cancel);
        await db.OutboxMessages.Where(m => ids.Contains(m.OutboxId)).ExecuteDeleteAsync(cancel);
        await db.OutboxStates.Where(o => ids.Contains(o.OutboxId)).ExecuteDeleteAsync(cancel);
        await transaction.CommitAsync(cancel);
        foreach (DateTime created in claimed.Values) Instruments.OutboxLag.Record((DateTime.UtcNow - created).TotalSeconds);
        return claimed.Count;
    }

    private async Task Upkeep(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        DateTime old = DateTime.UtcNow - OrphanAge, ancient = DateTime.UtcNow - Window;
        DateTime now = DateTime.UtcNow, latest = now + Plausible.Tolerance; // a clock that was ahead entered what is later
        IQueryable<InboxState> orphans = db.InboxStates.AsNoTracking().Where(i => i.Delivered == null && (i.Consumed < old || i.Consumed > latest));
        foreach (InboxState inbox in await orphans.OrderBy(i => i.Consumed).Take(BatchSize).ToListAsync(cancel))
        {
            // Two processes may both send it: the receivers' inboxes take it once.
            await using BooksTransaction transaction = new(contexts, marks, inbox.MessageId, inbox.ConsumerId);
            IReadOnlyList<OutboxMessage> left = await transaction.Undelivered(cancel);
            await Send(left, cancel);
            await transaction.Delivered(cancel);
            Instruments.OutboxOrphans.Add(left.Count);
        }
        await db.InboxStates.Where(i => i.Delivered > latest).ExecuteUpdateAsync(set => set.SetProperty(i => i.Delivered, now), cancel);
        while (await db.InboxStates.Where(i => i.Delivered < ancient).OrderBy(i => i.Id).Take(ClearedAtOnce).ExecuteDeleteAsync(cancel) == ClearedAtOnce) { }
    }

    private Task Send(IEnumerable<OutboxMessage> messages, CancellationToken cancel) => Task.WhenAll(messages.Select(async message =>
    {
        Uri address = message.DestinationAddress!;
        MessageContext context = message.Read();
        using Activity? span = context.Headers.Get<string>(DiagnosticHeaders.ActivityId) is { } trace ? Instruments.Trace.StartActivity("outbox", ActivityKind.Internal, trace) : null; // in the trace of what caused it
        await (await bus.GetSendEndpoint(address)).Send(new SerializedMessageBody(), new OutboxMessageSendPipe(message, address), cancel);
    }));

    private async Task Listen(CancellationToken cancel)
    {
        while (!cancel.IsCancellationRequested)
        {
            try
            {
                await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
                if (!db.Database.IsNpgsql()) return;
                await db.Database.OpenConnectionAsync(cancel);
                NpgsqlConnection connection = (NpgsqlConnection)db.Database.GetDbConnection();
                await db.Database.ExecuteSqlRawAsync($"listen {OutboxSignal.PostgresChannel}", cancel);
                connection.Notification += (_, _) => signal.Raise();
                signal.Raise(); // what was committed while nobody listened
                while (true) await connection.WaitAsync(cancel);
            }
            catch (OperationCanceledException) when (cancel.IsCancellationRequested) { return; }
            catch (Exception e)
            {
                log.LogWarning("outbox: listening: {Message}; trying again", e.Message);
                await Task.Delay(Rest, cancel).ContinueWith(_ => { }, CancellationToken.None);
            }
        }
    }
}
