using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Outbox;
using MassTransit;
using Microsoft.Extensions.Logging;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace ArmoFlow.Cli;

/// <summary>
/// Takes what was set aside in RabbitMQ's own error queues, while the database could not be reached, into the database: what is set aside
/// anywhere is shown by 'runs faults'. A message is acknowledged once its row is committed; one that has no row stays where it is, and
/// the others go on.
/// </summary>
internal sealed class ErrorQueues(Uri rabbitMq, FaultKeeper faults, ILogger<ErrorQueues> log)
    : PeriodicService("error queues", TimeSpan.FromSeconds(15), FirstRound.AtOnce, log)
{
    private const string Failed = "_error", Skipped = "_skipped";
    private const int MostRemembered = 1000;
    private const long LastSecond = 253_402_300_800; // of the year 9999
    private static readonly string[] Queues = [.. QueueDepths.Queues, "openlineage", .. Broadcasts.Names];
    private readonly HashSet<string> _refused = []; // of which the log has been told

    protected override bool IsTransient(Exception e) =>
        e is BrokerUnreachableException or AlreadyClosedException or OperationInterruptedException or IOException
            || DatabaseFault.IsTransient(e);

    protected override async Task Round(CancellationToken cancel)
    {
        await using IConnection connection =
            await new ConnectionFactory { Uri = rabbitMq }.CreateConnectionAsync("armoflow error queues", cancel);
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
        // nothing ever went there
        catch (OperationInterruptedException e) when (e.ShutdownReason?.ReplyCode == Constants.NotFound) { return; }
        while (await channel.BasicGetAsync(queue + suffix, autoAck: false, cancel) is { } message)
        {
            // What cannot be entered is not acknowledged: this channel does not get it again, and as it closes the queue has it back.
            if (await TryEnter(queue, suffix, message, cancel)) await channel.BasicAckAsync(message.DeliveryTag, multiple: false, cancel);
        }
    }

    /// <summary>False for a message that the database does not take, whose neighbours they may.</summary>
    private async Task<bool> TryEnter(string queue, string suffix, BasicGetResult message, CancellationToken cancel)
    {
        try
        {
            await Enter(queue, suffix, message, cancel);
            return true;
        }
        catch (Exception e) when (!IsTransient(e) && !cancel.IsCancellationRequested)
        {
            string id = message.BasicProperties.MessageId ?? Convert.ToHexStringLower(SHA256.HashData(message.Body.Span));
            string name = $"{queue}{suffix} {id}";
            if (_refused.Count >= MostRemembered) _refused.Clear();
            if (_refused.Add(name))
                log.LogError("message {Message} cannot be entered and stays in its queue: {Reason}", name, e.GetBaseException().Message);
            return false;
        }
    }

    private Task Enter(string queue, string suffix, BasicGetResult message, CancellationToken cancel)
    {
        IReadOnlyBasicProperties properties = message.BasicProperties;
        string reason = ReasonOf(properties, suffix);
        Guid? id = Guid.TryParse(properties.MessageId, CultureInfo.InvariantCulture, out Guid known) ? known : null;
        string body = Encoding.UTF8.GetString(message.Body.Span);
        FaultOrigin origin = new(Header(properties, MessageHeaders.Host.MachineName) ?? "not known", At(properties));
        string? stack = Header(properties, MessageHeaders.FaultStackTrace);
        return faults.Collect(queue, id, properties.ContentType, body, reason, stack, origin, cancel);
    }

    private static string ReasonOf(IReadOnlyBasicProperties properties, string suffix)
    {
        if (Header(properties, MessageHeaders.FaultMessage) is { } fault)
            return $"{Header(properties, MessageHeaders.FaultExceptionType)?.Split('.')[^1] ?? "fault"}: {fault}";
        if (suffix == Skipped) return "no consumer of this version understands the message";
        return Header(properties, MessageHeaders.Reason) ?? "set aside without a reason";
    }

    /// <summary>When a message was set aside; else when it was sent, or null where it does not say either.</summary>
    private static DateTimeOffset? At(IReadOnlyBasicProperties properties)
    {
        if (DateTimeOffset.TryParse(Header(properties, MessageHeaders.FaultTimestamp), CultureInfo.InvariantCulture,
            DateTimeStyles.AssumeUniversal, out DateTimeOffset at)) return at;
        bool isSaid = properties.IsTimestampPresent() && properties.Timestamp.UnixTime is > 0 and < LastSecond;
        return isSaid ? DateTimeOffset.FromUnixTimeSeconds(properties.Timestamp.UnixTime) : null;
    }

    private static string? Header(IReadOnlyBasicProperties properties, string name) =>
        properties.Headers?.TryGetValue(name, out object? value) != true ? null
            : value switch
            {
                byte[] bytes => Encoding.UTF8.GetString(bytes),
                AmqpTimestamp { UnixTime: > 0 and < LastSecond } at =>
                    DateTimeOffset.FromUnixTimeSeconds(at.UnixTime).ToString("O", CultureInfo.InvariantCulture),
                _ => value?.ToString(),
            };
}
