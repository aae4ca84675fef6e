using System.Globalization;
using System.Text;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Outbox;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace ArmoFlow.Cli;

/// <summary>
/// Takes what was set aside in RabbitMQ's own error queues, while the books could not be reached, into the books: what is set aside
/// anywhere is shown by 'runs faults'. A message is acknowledged once its row is committed.
/// </summary>
internal sealed class ErrorQueues(Uri rabbitMq, FaultKeeper faults, ILogger<ErrorQueues> log) : BackgroundService
{
    private const string Failed = "_error", Skipped = "_skipped";
    private static readonly string[] Queues = [.. QueueDepths.Queues, "openlineage"];
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(15);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using PeriodicTimer timer = new(Interval);
        try
        {
            do
            {
                try { await CollectAll(stoppingToken); }
                catch (Exception e) when (IsPassing(e)) { log.LogDebug("error queues: {Message}; trying again", e.Message); }
                catch (Exception e) when (e is not OperationCanceledException) { log.LogWarning("error queues: {Message}; trying again", e.Message); }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested) { }
    }

    private static bool IsPassing(Exception e) =>
        e is BrokerUnreachableException or AlreadyClosedException or OperationInterruptedException or IOException || BooksFault.IsTransient(e);

    private async Task CollectAll(CancellationToken cancel)
    {
        await using IConnection connection = await new ConnectionFactory { Uri = rabbitMq }.CreateConnectionAsync("armoflow error queues", cancel);
        foreach (string queue in Queues)
        {
            await Collect(connection, queue, Failed, cancel);
            await Collect(connection, queue, Skipped, cancel);
        }
    }

    private async Task Collect(IConnection connection, string queue, string suffix, CancellationToken cancel)
    {
        await using IChannel channel = await connection.CreateChannelAsync(cancellationToken: cancel);
        try { await channel.QueueDeclarePassiveAsync(queue + suffix, cancel); }
        catch (OperationInterruptedException e) when (e.ShutdownReason?.ReplyCode == Constants.NotFound) { return; } // nothing ever went there
        while (await channel.BasicGetAsync(queue + suffix, autoAck: false, cancel) is { } message)
        {
            // Not acknowledged, where the row cannot be entered: the channel closes, and the queue has it back.
            await Enter(queue, suffix, message, cancel);
            await channel.BasicAckAsync(message.DeliveryTag, multiple: false, cancel);
        }
    }

    private Task Enter(string queue, string suffix, BasicGetResult message, CancellationToken cancel)
    {
        IReadOnlyBasicProperties properties = message.BasicProperties;
        string reason = Header(properties, "MT-Fault-Message") is { } fault
            ? $"{Header(properties, "MT-Fault-ExceptionType")?.Split('.')[^1] ?? "fault"}: {fault}"
            : suffix == Skipped ? "no consumer of this version understands the message" : Header(properties, "MT-Reason") ?? "set aside without a reason";
        Guid? id = Guid.TryParse(properties.MessageId, CultureInfo.InvariantCulture, out Guid known) ? known : null;
        string body = Encoding.UTF8.GetString(message.Body.Span);
        return faults.Collect(queue, id, properties.ContentType, body, reason, Header(properties, "MT-Fault-StackTrace"), cancel);
    }

    private static string? Header(IReadOnlyBasicProperties properties, string name) => properties.Headers?.TryGetValue(name, out object? value) != true ? null
        : value is byte[] bytes ? Encoding.UTF8.GetString(bytes) : value?.ToString();
}
