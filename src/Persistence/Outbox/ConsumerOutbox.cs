using ArmoFlow.Contracts.Datasets;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Persistence.Faults;
using MassTransit;
using MassTransit.Configuration;
using MassTransit.Middleware;
using MassTransit.Middleware.Outbox;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>
/// Inbox and outbox of every consumer, on MassTransit's extension point: a message's effects and the messages it causes are
/// committed together and sent then; a copy of it only sends what was left unsent.
/// </summary>
internal sealed class ConsumerOutbox(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    DeliveredMarks marks,
    TimeProvider time,
    DiskFullSignal full,
    IServiceProvider services) : IOutboxContextFactory<ArmoFlowDbContext>
{
    public void Probe(ProbeContext context) => context.CreateFilterScope("outbox");

    public async Task Send<T>(ConsumeContext<T> context, OutboxConsumeOptions options, IPipe<OutboxConsumeContext<T>> next) where T : class
    {
        Guid messageId = context.GetOriginalMessageId() ?? throw new MessageException(typeof(T), "a message without an id");
        await using MessageTransaction transaction = new(contexts, marks, time, messageId, options.ConsumerId);
        context.AddOrUpdatePayload(() => transaction, _ => transaction);
        OutboxConsumer<T> consumer = new(context, options, services, time, transaction);
        try
        {
            while (consumer.ContinueProcessing) await next.Send(consumer);
        }
        catch (Exception e) when (DiskFull.Is(e))
        {
            full.Raise(e);
            throw;
        }
    }

    /// <summary>Steered by MassTransit's pipe: consume, then send, then forget.</summary>
    private sealed class OutboxConsumer<T>(
        ConsumeContext<T> context,
        OutboxConsumeOptions options,
        IServiceProvider services,
        TimeProvider time,
        MessageTransaction transaction) :
        OutboxConsumeContextProxy<T>(context, options, services)
        where T : class
    {
        private bool _consumed, _delivered;

        public override bool ContinueProcessing { get; set; } = true;
        public override bool IsMessageConsumed => _consumed;
        public override bool IsOutboxDelivered => _delivered;
        public override int ReceiveCount => 1;
        public override long? LastSequenceNumber => null;

        public override async Task AddSend<TMessage>(SendContext<TMessage> context)
        {
            OutboxMessage message = OutboxMessage.Of(context, SerializerContext, time.GetUtcNow());
            if (MessageBounds.WhyNever(message.Body) is { } why)
            {
                lock (transaction.Messages) transaction.SetAside.Add(message.AsFault(why, time.GetUtcNow()));
                if (MessageBounds.RunOf(message.Body) is { } run)
                    await Publish(new MessageUnsent(run.Run, run.Attempt, $"{typeof(TMessage).Name}: {why}"), CancellationToken);
                return;
            }
            lock (transaction.Messages) transaction.Messages.Add(message);
        }

        public override async Task SetConsumed()
        {
            if (await transaction.TryBegin(CancellationToken)) await transaction.Commit(CancellationToken);
            _consumed = true;
            _delivered = !transaction.IsDuplicate && transaction.Messages.Count == 0;
        }

        public override async Task<List<OutboxMessageContext>> LoadOutboxMessages() =>
            [.. (transaction.IsDuplicate ? await transaction.Undelivered(CancellationToken) : transaction.Messages).Select(m => m.Read())];

        public override Task NotifyOutboxMessageDelivered(OutboxMessageContext message) => Task.CompletedTask;

        public override Task SetDelivered()
        {
            _delivered = true;
            return Task.CompletedTask;
        }

        public override Task RemoveOutboxMessages() =>
            transaction.IsDuplicate || transaction.Messages.Count > 0 ? transaction.Delivered(CancellationToken) : Task.CompletedTask;
    }
}

public static class ConsumerOutboxRegistration
{
    private const int MostMessages = 100_000; // one consumer's; a plan of feature shards sends many
    private static readonly TimeSpan SendTimeout = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Gives every consumer and saga of the bus the inbox and outbox, and patience with a database or broker that is away, or a
    /// disk that is full: a message is tried again for a quarter of an hour before it is set aside as faulty. Broadcasts may be lost,
    /// or heard twice, without harm: they need no inbox. Nor does scoring, which changes nothing.
    /// </summary>
    public static void UseConsumerOutbox(this IBusRegistrationConfigurator bus) =>
        bus.AddConfigureEndpointsCallback((context, name, endpoint) =>
    {
        if (Broadcasts.IsOne(name)) context.GetRequiredService<FaultKeeper>().Attach(endpoint);
        if (Broadcasts.IsOne(name) || name == ScoreResponses.Queue) return;
        endpoint.UseConsumeFilter(typeof(LogScopeFilter<>), context);
        endpoint.UseMessageRetry(retry =>
        {
            retry.Handle<Exception>(e => DatabaseFault.IsTransient(e) || DiskFull.Is(e));
            retry.Exponential(90, TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(10), TimeSpan.FromMilliseconds(200));
        });
        context.GetRequiredService<FaultKeeper>().Attach(endpoint);
        if (name == DatasetArrived.Queue) return; // what comes from elsewhere may have no id to enter
        OutboxConsumePipeSpecificationObserver<ArmoFlowDbContext> outbox =
            new(endpoint, context) { MessageDeliveryLimit = MostMessages, MessageDeliveryTimeout = SendTimeout };
        endpoint.ConnectConsumerConfigurationObserver(outbox);
        endpoint.ConnectSagaConfigurationObserver(outbox);
    });
}
