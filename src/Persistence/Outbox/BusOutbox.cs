using System.Reflection;
using System.Threading.Channels;
using MassTransit;
using MassTransit.Middleware;
using MassTransit.Middleware.Outbox;
using MassTransit.Serialization;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>Wakes a loop that waits.</summary>
public abstract class Signal
{
    private readonly Channel<bool> _raised =
        System.Threading.Channels.Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    public void Raise() => _raised.Writer.TryWrite(true);

    /// <summary>Returns when raised, or after a time in which it was not.</summary>
    public async Task Wait(TimeSpan limit, CancellationToken cancel)
    {
        using CancellationTokenSource timer = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timer.CancelAfter(limit);
        try { await _raised.Reader.ReadAsync(timer.Token); }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested) { } // nobody did
    }
}

/// <summary>Wakes the delivery loops: this process's at once, other processes' through Postgres.</summary>
public sealed class OutboxSignal : Signal
{
    public const string PostgresChannel = "armoflow_outbox";
}

/// <summary>Commits changes outside a consumer, such as the API's, together with the messages that they cause.</summary>
public sealed class BusOutbox(IBus bus, IDbContextFactory<ArmoFlowDbContext> contexts, OutboxSignal signal, TimeProvider time)
{
    /// <exception cref="MessageTooLargeException">No broker would take the message; nothing is entered.</exception>
    public async Task Save<T>(ArmoFlowDbContext db, T message, CancellationToken cancel) where T : class
    {
        await Enter(bus, db, message, time.GetUtcNow(), cancel);
        await db.SaveChangesAsync(cancel);
        signal.Raise();
        if (db.Database.IsNpgsql()) await db.Database.ExecuteSqlRawAsync($"notify {OutboxSignal.PostgresChannel}", cancel);
    }

    /// <summary>The same as a part of more; the message is sent once that is committed.</summary>
    public Task Save<T>(UnitOfWork unit, T message, CancellationToken cancel) where T : class => Save(unit.Database, message, cancel);

    /// <summary>Sends a message that nothing else goes with.</summary>
    public async Task Send<T>(T message, CancellationToken cancel) where T : class
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await Save(db, message, cancel);
    }

    /// <summary>Adds a message to the caller's changes; it is sent once these are committed and somebody raises the signal.</summary>
    public static async Task Enter<T>(IBus bus, ArmoFlowDbContext db, T message, DateTimeOffset now, CancellationToken cancel)
        where T : class
    {
        OutboxState state = new() { OutboxId = NewId.NextGuid(), LockId = RunOf<T>.Get(message), Created = now.UtcDateTime };
        await new OutboxSendEndpoint(new Rows(db, state.OutboxId, now), await bus.GetPublishSendEndpoint<T>()).Send(message, cancel);
        db.OutboxStates.Add(state);
    }

    private static class RunOf<T>
    {
        private static readonly PropertyInfo? Run = typeof(T).GetProperty("RunId", typeof(Guid));

        public static Guid Get(T message) => Run?.GetValue(message) is Guid run ? run : Guid.Empty;
    }

    private sealed class Rows(ArmoFlowDbContext db, Guid outboxId, DateTimeOffset now) : OutboxSendContext
    {
        public Task AddSend<T>(SendContext<T> context) where T : class
        {
            OutboxMessage message = OutboxMessage.Of(context, SystemTextJsonMessageSerializer.Instance, now);
            if (MessageBounds.WhyNever(message.Body) is { } why) throw new MessageTooLargeException(typeof(T).Name, why);
            message.OutboxId = outboxId;
            db.OutboxMessages.Add(message);
            return Task.CompletedTask;
        }

        public object? GetService(Type serviceType) => null;
    }
}

/// <summary>What was asked for would be a message that no broker takes.</summary>
public sealed class MessageTooLargeException(
    string kind,
    string why) : RefusedException($"{kind}: {why}. Ask for less at once.", Refusal.Unusable);
