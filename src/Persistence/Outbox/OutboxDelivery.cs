using System.Diagnostics;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Faults;
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
/// Sends what <see cref="BusOutbox"/> committed, in batches that several processes can take side by side: a run's messages in the
/// order of their commits, and one that fails holds up no other run. Once a minute it also sends what a consumer committed and never
/// came to send, and clears the inbox of what is too old to come again.
/// </summary>
public sealed class OutboxDelivery(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    IBus bus,
    OutboxSignal signal,
    DeliveredMarks marks,
    TimeProvider time,
    ILogger<OutboxDelivery> log) : BackgroundService
{
    private const int BatchSize = 100, ClearedAtOnce = 5000;
    private static readonly TimeSpan Poll = TimeSpan.FromSeconds(20), Rest = TimeSpan.FromSeconds(1),
        UpkeepInterval = TimeSpan.FromMinutes(1), OrphanAge = TimeSpan.FromMinutes(1), Window = TimeSpan.FromHours(2);

    private static readonly TimeSpan SendLimit = TimeSpan.FromSeconds(30), LongestRest = TimeSpan.FromMinutes(1);
    private readonly Dictionary<Guid, (int Tries, DateTime NotBefore)> _later = [];

    private DateTime Now => time.GetUtcNow().UtcDateTime;

    private enum Outcome
    {
        Sent,
        Later,
        Never,
    }

    private sealed record Sending(OutboxMessage Message, Outcome Outcome, string Reason);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        Task listening = Listen(stoppingToken);
        DateTime upkeep = Now; // at the start: a crash may have left something
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (Now >= upkeep)
                {
                    await Upkeep(stoppingToken);
                    upkeep = Now + UpkeepInterval;
                }
                if (await DeliverBatch(stoppingToken) > 0) continue;
                await signal.Wait(UntilNextLook(), stoppingToken);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested) { break; }
            catch (Exception e)
            {
                log.LogWarning("outbox: {Message}; trying again", e.Message);
                await TakeRest(stoppingToken);
            }
        }
        await listening;
    }

    /// <summary>
    /// Until the first of those that were put off is due. One that is due and was not there to be claimed was sent by another
    /// process.
    /// </summary>
    private TimeSpan UntilNextLook()
    {
        DateTime now = Now;
        foreach (Guid sentByOthers in _later.Where(l => l.Value.NotBefore <= now).Select(l => l.Key).ToList()) _later.Remove(sentByOthers);
        if (_later.Count == 0) return Poll;
        TimeSpan due = _later.Values.Min(l => l.NotBefore) - now;
        return due < Poll ? due : Poll;
    }

    private async Task<int> DeliverBatch(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        // SQLite admits one writer: do not be it for nothing
        if (!db.Database.IsNpgsql() && !await db.OutboxStates.AnyAsync(cancel)) return 0;
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        Dictionary<Guid, DateTime> claimed = await Claim(db).ToDictionaryAsync(o => o.OutboxId, o => o.Created, cancel);
        if (claimed.Count == 0) return 0;
        Guid?[] ids = [.. claimed.Keys];
        List<OutboxMessage> messages =
            await db.OutboxMessages.AsNoTracking().Where(m => ids.Contains(m.OutboxId)).OrderBy(m => m.SequenceNumber).ToListAsync(cancel);
        IReadOnlyList<Sending> results = await Task.WhenAll(messages.Select(m => TrySend(m, cancel)));
        foreach (Sending never in results.Where(r => r.Outcome == Outcome.Never)) await SetAside(db, never, cancel);
        HashSet<Guid?> kept = [.. results.Where(r => r.Outcome == Outcome.Later).Select(r => r.Message.OutboxId)];
        Guid[] finished = [.. claimed.Keys.Where(id => !kept.Contains(id))];
        long[] gone = [.. results.Where(r => r.Outcome != Outcome.Later).Select(r => r.Message.SequenceNumber)];
        await db.SaveChangesAsync(cancel);
        await db.OutboxMessages.Where(m => gone.Contains(m.SequenceNumber)).ExecuteDeleteAsync(cancel);
        await db.OutboxStates.Where(o => finished.Contains(o.OutboxId)).ExecuteDeleteAsync(cancel);
        await transaction.CommitAsync(cancel);
        foreach (Guid sent in finished)
        {
            _later.Remove(sent);
            Instruments.OutboxLag.Record((Now - claimed[sent]).TotalSeconds);
        }
        if (gone.Length == 0 && results.Count > 0) throw new IOException(results[0].Reason); // nothing gets through: the broker is away
        foreach (Sending failed in results.Where(r => r.Outcome == Outcome.Later).DistinctBy(r => r.Message.OutboxId)) PutOff(failed);
        return claimed.Count;
    }

    /// <summary>
    /// The oldest that are due. Of a run's only the first: while another process sends it, it still stands in the way of the next.
    /// By the messages' numbers, which grow with the commits that a caller has seen; several machines' clocks need not agree.
    /// </summary>
    private IQueryable<OutboxState> Claim(ArmoFlowDbContext db)
    {
        DateTime now = Now;
        Guid[] notDue = [.. _later.Where(l => l.Value.NotBefore > now).Select(l => l.Key)];
        if (!db.Database.IsNpgsql())
        {
            return db.OutboxStates.AsNoTracking().Where(o => !notDue.Contains(o.OutboxId) && (o.LockId == Guid.Empty || !(
                from earlier in db.OutboxStates
                join first in db.OutboxMessages on (Guid?)earlier.OutboxId equals first.OutboxId
                from mine in db.OutboxMessages
                where earlier.LockId == o.LockId
                    && earlier.OutboxId != o.OutboxId
                    && mine.OutboxId == o.OutboxId
                    && first.SequenceNumber < mine.SequenceNumber
                select earlier).Any())).OrderBy(o => o.Created).Take(BatchSize);
        }
        return db.OutboxStates.FromSql($"""
            select * from outbox_state o
            where not (o.outbox_id = any({notDue})) and (o.lock_id = {Guid.Empty} or not exists (
                select 1 from outbox_state earlier
                join outbox_message first on first.outbox_id = earlier.outbox_id
                join outbox_message mine on mine.outbox_id = o.outbox_id
                where earlier.lock_id = o.lock_id and first.sequence_number < mine.sequence_number
                and first.outbox_id <> mine.outbox_id))
            order by created limit {BatchSize} for update of o skip locked
            """).AsNoTracking();
    }

    private async Task<Sending> TrySend(OutboxMessage message, CancellationToken cancel)
    {
        if (MessageBounds.WhyNever(message.Body) is { } why) return new Sending(message, Outcome.Never, why);
        if (message.DestinationAddress is null) return new Sending(message, Outcome.Never, "it has no address");
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(SendLimit);
        try
        {
            await Send(message, limit.Token);
            return new Sending(message, Outcome.Sent, "");
        }
        catch (Exception e) when (!cancel.IsCancellationRequested)
        {
            string reason = e is OperationCanceledException ? "the broker does not answer" : $"{e.GetType().Name}: {e.Message}";
            if (MessageBounds.IsOfMessage(e)) return new Sending(message, Outcome.Never, reason);
            return new Sending(message, Outcome.Later, reason);
        }
    }

    /// <summary>The broker took others, and not this one: it has to wait, ever longer, and holds up nobody but its own run.</summary>
    private void PutOff(Sending failed)
    {
        Guid outbox = failed.Message.OutboxId!.Value;
        int tries = _later.GetValueOrDefault(outbox).Tries;
        TimeSpan wait = TimeSpan.FromSeconds(Math.Min(Math.Pow(2, tries), LongestRest.TotalSeconds));
        _later[outbox] = (tries + 1, Now + wait);
        log.LogWarning("outbox: message {Message}: {Reason}; trying again in {Seconds} s", failed.Message.MessageId, failed.Reason,
            wait.TotalSeconds);
    }

    /// <summary>Into the faults, with the word to the message's run that nothing will come of it.</summary>
    private async Task SetAside(ArmoFlowDbContext db, Sending never, CancellationToken cancel)
    {
        FaultRow fault = never.Message.AsFault(never.Reason, time.GetUtcNow());
        db.Faults.Add(fault);
        Instruments.Faults.Add(1, Instruments.Tag("queue", fault.Queue));
        log.LogError("set aside for queue {Queue}: {Reason} (see: armoflow runs faults)", fault.Queue, fault.Reason);
        if (MessageBounds.RunOf(never.Message.Body) is not { } run) return;
        MessageUnsent unsent = new(run.Run, run.Attempt, $"{fault.MessageType.Split(':')[^1]} {fault.Reason}");
        await BusOutbox.Enter(bus, db, unsent, time.GetUtcNow(), cancel);
        signal.Raise();
    }

    private async Task Upkeep(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        DateTime now = Now, old = now - OrphanAge, ancient = now - Window;
        DateTime latest = now + Plausible.Tolerance; // a clock that was ahead entered what is later
        IQueryable<InboxState> orphans =
            db.InboxStates.AsNoTracking().Where(i => i.Delivered == null && (i.Consumed < old || i.Consumed > latest));
        foreach (InboxState inbox in await orphans.OrderBy(i => i.Consumed).Take(BatchSize).ToListAsync(cancel))
        {
            // Two processes may both send it: the receivers' inboxes take it once.
            await using MessageTransaction transaction = new(contexts, marks, time, inbox.MessageId, inbox.ConsumerId);
            IReadOnlyList<OutboxMessage> left = await transaction.Undelivered(cancel);
            IReadOnlyList<Sending> results = await Task.WhenAll(left.Select(m => TrySend(m, cancel)));
            if (results.Any(r => r.Outcome == Outcome.Later)) continue; // the next upkeep sends all of it again
            foreach (Sending never in results.Where(r => r.Outcome == Outcome.Never)) await SetAside(db, never, cancel);
            await db.SaveChangesAsync(cancel);
            await transaction.Delivered(cancel);
            Instruments.OutboxOrphans.Add(left.Count);
        }
        await db.InboxStates.Where(i => i.Delivered > latest).ExecuteUpdateAsync(set => set.SetProperty(i => i.Delivered, now), cancel);
        while (await db.InboxStates.Where(i => i.Delivered < ancient)
            .OrderBy(i => i.Id)
            .Take(ClearedAtOnce)
            .ExecuteDeleteAsync(cancel) == ClearedAtOnce) { }
    }

    private async Task Send(OutboxMessage message, CancellationToken cancel)
    {
        Uri address = message.DestinationAddress!;
        MessageContext context = message.Read();
        // in the trace of what caused it
        using Activity? span = context.Headers.Get<string>(DiagnosticHeaders.ActivityId) is { } trace
            ? Instruments.Trace.StartActivity("outbox", ActivityKind.Internal, trace)
            : null;
        await (await bus.GetSendEndpoint(address)).Send(new SerializedMessageBody(), new OutboxMessageSendPipe(message, address), cancel);
    }

    /// <summary>A pause after a failure; it ends at once, and without an error, where the process does.</summary>
    private static async Task TakeRest(CancellationToken cancel)
    {
        try { await Task.Delay(Rest, cancel); }
        catch (OperationCanceledException) { }
    }

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
                await TakeRest(cancel);
            }
        }
    }
}
