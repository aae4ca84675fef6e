using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Persistence.Outbox;
using MassTransit;
using MassTransit.Middleware;
using MassTransit.Serialization;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Persistence.Faults;

/// <summary>
/// Where a message goes whose retries are used up, or that no consumer understands: into the database with its reason. Only if the
/// database cannot be reached either does it go to the transport's own error queue.
/// </summary>
public sealed partial class FaultKeeper(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    TimeProvider time,
    ILogger<FaultKeeper> log)
{
    public void Attach(IReceiveEndpointConfigurator endpoint)
    {
        endpoint.ConfigureError(pipe =>
        {
            pipe.UseFilter(new GenerateFaultFilter());
            pipe.UseFilter(new ErrorFilter(this));
            pipe.UseFilter(new ErrorTransportFilter());
        });
        endpoint.ConfigureDeadLetter(pipe =>
        {
            pipe.UseFilter(new SkippedFilter(this));
            pipe.UseFilter(new DeadLetterTransportFilter());
        });
    }

    /// <summary>Sends a kept message to its queue again, in the transaction of the caller; its run's messages stay in order.</summary>
    public static void Redeliver(ArmoFlowDbContext db, FaultRow fault, DateTimeOffset now)
    {
        Outbox.OutboxState outbox = new()
        {
            OutboxId = NewId.NextGuid(),
            LockId = Outbox.MessageBounds.RunOf(fault.Body)?.Run ?? Guid.Empty,
            Created = now.UtcDateTime,
        };
        db.OutboxStates.Add(outbox);
        db.OutboxMessages.Add(new Outbox.OutboxMessage
        {
            OutboxId = outbox.OutboxId,
            MessageId = fault.MessageId ?? NewId.NextGuid(),
            DestinationAddress = new Uri($"queue:{fault.Queue}"),
            ContentType = fault.ContentType,
            MessageType = fault.MessageType,
            Body = fault.Body,
            SentTime = now.UtcDateTime,
        });
    }

    /// <summary>Enters what lay in one of the transport's own error queues; what is in the database already is not entered twice.</summary>
    /// <param name="queue">The queue that the message was of.</param>
    /// <param name="messageId">The message's id, where it has one.</param>
    /// <param name="contentType">Of the body.</param>
    /// <param name="body">The message.</param>
    /// <param name="reason">Why it was set aside, as the transport has it.</param>
    /// <param name="stack">Where it failed.</param>
    /// <param name="origin">Who set it aside, and when.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task Collect(string queue, Guid? messageId, string? contentType, string body, string reason, string? stack,
        FaultOrigin origin, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<FaultRow> open = db.Faults.Where(f => f.Queue == queue && f.Status == FaultStatus.Open);
        if (messageId is { } id && await open.AnyAsync(f => f.MessageId == id, cancel))
            return;
        string type = TypeOf(body) ?? "unknown";
        await Enter(db, FaultRow.Of(queue, messageId, type, contentType ?? Json, body, reason, stack,
            time.GetUtcNow(), origin), cancel);
    }

    private static string Json => SystemTextJsonMessageSerializer.JsonContentType.ToString();

    private async Task<bool> Keep(ReceiveContext context, string reason, string? stack)
    {
        try
        {
            string queue = Broadcasts.NameOf(context.InputAddress.AbsolutePath.Split('/')[^1]);
            string body = Encoding.UTF8.GetString(context.Body.GetBytes());
            string type = TypeOf(body) ?? context.TransportHeaders.Get<string>("MT-MessageType") ?? "unknown";
            await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(CancellationToken.None);
            await Enter(db, FaultRow.Of(queue, context.GetMessageId(), type, context.ContentType?.ToString() ?? Json, body, reason, stack,
                time.GetUtcNow()),
                CancellationToken.None);
            return true;
        }
        catch (Exception e) when (e is DbUpdateException or System.Data.Common.DbException or InvalidOperationException)
        {
            log.LogError("cannot enter a fault: {Message}; the message goes to the error queue", e.Message);
            return false;
        }
    }

    private async Task Enter(ArmoFlowDbContext db, FaultRow fault, CancellationToken cancel)
    {
        // Every process hears a broadcast, and may fail on each: one of a kind is enough to learn of it.
        IQueryable<FaultRow> alike = db.Faults.Where(f => f.Fingerprint == fault.Fingerprint && f.Status == FaultStatus.Open);
        if (Broadcasts.IsOne(fault.Queue) && await alike.AnyAsync(cancel)) return;
        if (fault.MessageId is { } id)
            fault.Redeliveries = await db.Faults.CountAsync(f => f.MessageId == id && f.Status == FaultStatus.Redelivered, cancel);
        db.Faults.Add(fault);
        await db.SaveChangesAsync(cancel);
        Instruments.Faults.Add(1, Instruments.Tag("queue", fault.Queue));
        log.LogError("set aside from queue {Queue}: {Reason} (see: armoflow runs faults)", fault.Queue, fault.Reason);
    }

    public static string Fingerprint(string queue, string type, string reason) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{queue}\n{type}\n{Changing().Replace(reason, "#")}")))[..12];

    private static string? TypeOf(string body)
    {
        try
        {
            using JsonDocument envelope = JsonDocument.Parse(body);
            if (envelope.RootElement.TryGetProperty("messageType", out JsonElement types)
                && types.EnumerateArray().FirstOrDefault().GetString() is { } type)
                return type;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException) { } // it is no message of ours
        return null;
    }

    [GeneratedRegex("[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|[0-9a-fA-F]{16,}|[0-9]+")]
    private static partial Regex Changing();

    private sealed class ErrorFilter(FaultKeeper keeper) : IFilter<ExceptionReceiveContext>
    {
        public async Task Send(ExceptionReceiveContext context, IPipe<ExceptionReceiveContext> next)
        {
            Exception fault = context.Exception.GetBaseException();
            if (!await keeper.Keep(context, $"{fault.GetType().Name}: {fault.Message}", context.Exception.StackTrace))
                await next.Send(context);
        }

        public void Probe(ProbeContext context) => context.CreateFilterScope("faults");
    }

    private sealed class SkippedFilter(FaultKeeper keeper) : IFilter<ReceiveContext>
    {
        public async Task Send(ReceiveContext context, IPipe<ReceiveContext> next)
        {
            if (!await keeper.Keep(context, "no consumer of this version understands the message", null)) await next.Send(context);
        }

        public void Probe(ProbeContext context) => context.CreateFilterScope("faults");
    }
}
