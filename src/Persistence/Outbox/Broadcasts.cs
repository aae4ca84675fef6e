using MassTransit;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>
/// Names of the queues that every process has one of, and that end with it. What cannot be dealt with there is set aside under the
/// name that all of them share: a queue of the process's own would end with it too, and nobody would find it.
/// </summary>
public sealed class Broadcasts : IErrorQueueNameFormatter, IDeadLetterQueueNameFormatter
{
    public const string Prefix = "broadcast-", Progress = Prefix + "progress", StopWork = Prefix + "stop-work";

    /// <summary>All shared names.</summary>
    public static readonly IReadOnlyList<string> Names = [Progress, StopWork];

    /// <summary>A queue for this process.</summary>
    public static string QueueOf(string name) => $"{name}-{NewId.NextGuid():N}";

    public static bool IsOne(string queue) => queue.StartsWith(Prefix, StringComparison.Ordinal);

    /// <summary>The shared name of a broadcast's queue; any other queue's own.</summary>
    public static string NameOf(string queue) =>
        Names.FirstOrDefault(name => queue.StartsWith(name + "-", StringComparison.Ordinal)) ?? queue;

    public string FormatErrorQueueName(string queueName) => NameOf(queueName) + "_error";
    public string FormatDeadLetterQueueName(string queueName) => NameOf(queueName) + "_skipped";
}
