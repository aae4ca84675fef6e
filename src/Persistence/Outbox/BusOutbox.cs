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
    private readonly Channel<bool> _raised = System.Threading.Channels.Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

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
public sealed class BusOutbox(IBus bus, OutboxSignal signal)
{
    public async Task Save<T>(ArmoFlowDbContext db, T message, CancellationToken cancel) where T : class
    {
        OutboxState state = new() { OutboxId = NewId.NextGuid(), Created = DateTime.UtcNow };
        db.OutboxStates.Add(state);
        await new OutboxSendEndpoint(new Rows(db, state.OutboxId), await bus.GetPublishSendEndpoint<T>()).Send(message, cancel);
        await db.SaveChangesAsync(cancel);
        signal.Raise();
        if (db.Database.IsNpgsql()) await db.Database.ExecuteSqlRawAsync($"notify {OutboxSignal.PostgresChannel}", cancel);
    }

    private sealed class Rows(ArmoFlowDbContext db, Guid outboxId) : OutboxSendContext
    {
        public Task AddSend<T>(SendContext<T> context) where T : class
        {
            OutboxMessage message = OutboxMessage.Of(context, SystemTextJsonMessageSerializer.Instance);
            message.OutboxId = outboxId;
            db.OutboxMessages.Add(message);
            return Task.CompletedTask;
        }

        public object? GetService(Type serviceType) => null;
    }
}
