using System.Diagnostics;
using ArmoFlow.Persistence.Faults;
using MassTransit;
using MassTransit.Context;
using MassTransit.Logging;
using MassTransit.Metadata;
using MassTransit.Middleware;
using MassTransit.Serialization;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>A message that a consumer has dealt with, so that a second copy of it changes nothing. MassTransit's own table shape.</summary>
public sealed class InboxState
{
    public long Id { get; set; }
    public Guid MessageId { get; set; }
    public Guid ConsumerId { get; set; }
    public Guid LockId { get; set; }
    public byte[]? RowVersion { get; set; }
    public DateTime Received { get; set; }
    public int ReceiveCount { get; set; }
    public DateTime? ExpirationTime { get; set; }
    public DateTime? Consumed { get; set; }

    /// <summary>When the last of the messages that it caused was sent.</summary>
    public DateTime? Delivered { get; set; }
    public long? LastSequenceNumber { get; set; }
}

/// <summary>
/// Messages written outside a consumer, such as by the API, that wait for the delivery loop. MassTransit's own table shape.
/// </summary>
public sealed class OutboxState
{
    public Guid OutboxId { get; set; }

    /// <summary>The run that the messages are about: a run's are sent in the order in which they were committed. Empty for none.</summary>
    public Guid LockId { get; set; }
    public byte[]? RowVersion { get; set; }
    public DateTime Created { get; set; }
    public DateTime? Delivered { get; set; }
    public long? LastSequenceNumber { get; set; }
}

/// <summary>A message that was committed with the change that caused it, and is still to be sent. MassTransit's own table shape.</summary>
public sealed class OutboxMessage : OutboxMessageContext
{
    private Headers _headers = EmptyHeaders.Instance;
    private IReadOnlyDictionary<string, object> _properties = new Dictionary<string, object>();

    public long SequenceNumber { get; set; }
    public DateTime? EnqueueTime { get; set; }
    public DateTime SentTime { get; set; }
    public string? Headers { get; set; }
    public string? Properties { get; set; }
    public Guid? InboxMessageId { get; set; }
    public Guid? InboxConsumerId { get; set; }
    public Guid? OutboxId { get; set; }
    public Guid MessageId { get; set; }
    public string ContentType { get; set; } = "";
    public string MessageType { get; set; } = "";
    public string Body { get; set; } = "";
    public Guid? ConversationId { get; set; }
    public Guid? CorrelationId { get; set; }
    public Guid? InitiatorId { get; set; }
    public Guid? RequestId { get; set; }
    public Uri? SourceAddress { get; set; }
    public Uri? DestinationAddress { get; set; }
    public Uri? ResponseAddress { get; set; }
    public Uri? FaultAddress { get; set; }
    public DateTime? ExpirationTime { get; set; }

    Guid? MessageContext.MessageId => MessageId;
    DateTime? MessageContext.SentTime => SentTime;
    Headers MessageContext.Headers => _headers;
    HostInfo MessageContext.Host => HostMetadataCache.Host;
    IReadOnlyDictionary<string, object> OutboxMessageContext.Properties => _properties;

    /// <summary>What a send would have put on the wire.</summary>
    public static OutboxMessage Of<T>(SendContext<T> context, IObjectDeserializer serializer, DateTimeOffset now) where T : class
    {
        Dictionary<string, object> properties = new(StringComparer.OrdinalIgnoreCase);
        List<KeyValuePair<string, object>> headers = [.. context.Headers.GetAll()];
        // who reads it goes on with the trace
        if (Activity.Current?.Id is { } trace && !headers.Exists(h => h.Key == DiagnosticHeaders.ActivityId))
            headers.Add(KeyValuePair.Create<string, object>(DiagnosticHeaders.ActivityId, trace));
        if (context is TransportSendContext<T> transport) transport.WritePropertiesTo(properties);
        return new OutboxMessage
        {
            MessageId = context.MessageId ?? throw new InvalidOperationException($"{typeof(T).Name}: a message without an id"),
            ConversationId = context.ConversationId,
            CorrelationId = context.CorrelationId,
            InitiatorId = context.InitiatorId,
            RequestId = context.RequestId,
            SourceAddress = context.SourceAddress,
            DestinationAddress = context.DestinationAddress,
            ResponseAddress = context.ResponseAddress,
            FaultAddress = context.FaultAddress,
            SentTime = context.SentTime ?? now.UtcDateTime,
            ContentType = (context.ContentType ?? context.Serialization.DefaultContentType).ToString(),
            MessageType = string.Join(';', context.SupportedMessageTypes),
            Body = context.Serializer.GetMessageBody(context).GetString(),
            Headers = serializer.SerializeDictionary(headers),
            Properties = serializer.SerializeDictionary(properties),
        };
    }

    /// <summary>The message as it is set aside.</summary>
    public FaultRow AsFault(string reason, DateTimeOffset now)
    {
        string queue = DestinationAddress switch
        {
            null => "nowhere",
            { IsAbsoluteUri: true } address => address.AbsolutePath.Split('/')[^1],
            { } address => address.ToString(),
        };
        return FaultRow.Of(queue, MessageId, MessageType.Split(';')[0], ContentType, Body, FaultRow.Unsendable + reason, null, now);
    }

    /// <summary>Makes headers and properties of a loaded row readable.</summary>
    public OutboxMessage Read()
    {
        IObjectDeserializer json = SystemTextJsonMessageSerializer.Instance;
        if (json.DeserializeDictionary<object?>(Headers) is { Count: > 0 } headers) _headers = new DictionarySendHeaders(headers!);
        if (json.DeserializeDictionary<object>(Properties) is { Count: > 0 } properties) _properties = properties;
        return this;
    }
}

internal sealed class InboxStateConfiguration : IEntityTypeConfiguration<InboxState>
{
    public void Configure(EntityTypeBuilder<InboxState> inbox)
    {
        inbox.ToTable("inbox_state");
        inbox.HasIndex(i => new { i.MessageId, i.ConsumerId }).IsUnique();
        inbox.HasIndex(i => i.Consumed).HasFilter("delivered is null");
        inbox.HasIndex(i => i.Delivered);
    }
}

internal sealed class OutboxStateConfiguration : IEntityTypeConfiguration<OutboxState>
{
    public void Configure(EntityTypeBuilder<OutboxState> outbox)
    {
        outbox.ToTable("outbox_state").HasKey(o => o.OutboxId);
        outbox.HasIndex(o => o.Created);
    }
}

internal sealed class OutboxMessageConfiguration : IEntityTypeConfiguration<OutboxMessage>
{
    public void Configure(EntityTypeBuilder<OutboxMessage> message)
    {
        message.ToTable("outbox_message").HasKey(m => m.SequenceNumber);
        message.HasIndex(m => new { m.InboxMessageId, m.InboxConsumerId });
        message.HasIndex(m => m.OutboxId);
    }
}
