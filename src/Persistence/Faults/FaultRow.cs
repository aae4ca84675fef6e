using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Faults;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Faults;

/// <summary>Who set a message aside, and when, as far as that is known.</summary>
public sealed record FaultOrigin(string? Machine, DateTimeOffset? At);

/// <summary>A message that could not be dealt with, kept with the reason until somebody decides.</summary>
public sealed class FaultRow
{
    /// <summary>The longest body that is kept whole, in characters; and the longest reason.</summary>
    public const int LongestBody = 1 << 20, LongestReason = 10_000;

    private const int LongestStack = 4000, LongestMachine = 255; // a name of the DNS

    /// <summary>How the reason of a message begins that no broker would take.</summary>
    public const string Unsendable = "cannot be sent: ";

    /// <summary>In the place of the content type: the body was too long to keep and cannot be sent again.</summary>
    public const string CutShort = "text/x-cut-short";

    public long Id { get; set; }

    /// <summary>Equal for faults of one kind: same queue, message type and error, numbers and ids aside.</summary>
    public string Fingerprint { get; set; } = "";
    public string Queue { get; set; } = "";
    public Guid? MessageId { get; set; }
    public string MessageType { get; set; } = "";
    public string ContentType { get; set; } = "";
    public string Body { get; set; } = "";
    public string Reason { get; set; } = "";
    public string? StackTrace { get; set; }
    public string Machine { get; set; } = "";
    public DateTimeOffset FaultedAt { get; set; }
    public FaultStatus Status { get; set; }

    /// <summary>How often this message was redelivered and came back.</summary>
    public int Redeliveries { get; set; }
    public bool IsCutShort => ContentType == CutShort;
    public DateTimeOffset? DecidedAt { get; set; }
    public string? DecidedBy { get; set; }

    /// <summary>A message as it is set aside, its texts bounded.</summary>
    public static FaultRow Of(string queue, Guid? messageId, string messageType, string contentType, string body, string reason,
        string? stack, DateTimeOffset now, FaultOrigin? origin = null)
    {
        bool isLong = body.Length > LongestBody;
        return new FaultRow
        {
            Fingerprint = FaultKeeper.Fingerprint(queue, messageType, Cut(reason, LongestReason)),
            Queue = queue,
            MessageId = messageId,
            MessageType = Cut(messageType, LongestReason),
            ContentType = isLong ? CutShort : Whole(contentType),
            Body = isLong
                ? $"{Cut(body, LongestReason)}\n(cut short: the message has {body.Length:N0} characters; it cannot be sent again)"
                : Whole(body),
            Reason = Cut(reason, LongestReason),
            StackTrace = stack is null ? null : Cut(stack, LongestStack),
            Machine = Cut(origin?.Machine ?? Environment.MachineName, LongestMachine),
            FaultedAt = origin?.At is { } at && !Plausible.IsAhead(at, now) ? at.ToUniversalTime() : now,
        };
    }

    private static string Whole(string text) => StoredText.Clean(text);

    private static string Cut(string text, int longest)
    {
        return text.Length > longest ? Whole(text[..longest]) + "…" : Whole(text);
    }
}

internal sealed class FaultRowConfiguration : IEntityTypeConfiguration<FaultRow>
{
    public void Configure(EntityTypeBuilder<FaultRow> fault)
    {
        fault.HasIndex(f => f.Fingerprint);
        fault.HasIndex(f => f.MessageId);
    }
}
