using System.Runtime.Serialization;
using System.Text;
using System.Text.Json;
using MassTransit;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>
/// What can be sent at all. RabbitMQ 4 closes the channel of whoever sends more than 16 MiB, so that nobody learns which message it
/// was; ours are bounded well below, before they leave.
/// </summary>
public static class MessageBounds
{
    public const int MostBytes = 8 << 20;

    /// <summary>Why a message will never be taken; null if it may be.</summary>
    public static string? WhyNever(string body)
    {
        int bytes = Encoding.UTF8.GetByteCount(body);
        return bytes <= MostBytes ? null : $"the message has {bytes:N0} bytes; expected at most {MostBytes:N0}";
    }

    /// <summary>True where sending the same message again fails the same way: the fault is the message's, not the broker's.</summary>
    public static bool IsOfMessage(Exception e) => e is
        ArgumentException or
        FormatException or // an address that is none
        NotSupportedException or
        JsonException or
        SerializationException or
        EndpointException or
        ConfigurationException or
        MessageException;

    /// <summary>The run and the asking that a message is about, of its envelope; null where it is about none.</summary>
    public static (Guid Run, int? Attempt)? RunOf(string envelope)
    {
        try
        {
            using JsonDocument parsed = JsonDocument.Parse(envelope);
            if (!parsed.RootElement.TryGetProperty("message", out JsonElement message)) return null;
            if (!message.TryGetProperty("runId", out JsonElement run) || !run.TryGetGuid(out Guid id)) return null;
            int? attempt = message.TryGetProperty("attempt", out JsonElement number) && number.TryGetInt32(out int value) ? value : null;
            return (id, attempt);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException) { return null; } // no message of ours
    }
}
