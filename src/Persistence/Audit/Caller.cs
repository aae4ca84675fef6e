using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Persistence.Audit;

/// <summary>On whose behalf the code at hand runs.</summary>
/// <param name="Name">A user, or the name of an access key.</param>
/// <param name="RequestId">What ties the events of one request together; null outside of one.</param>
public sealed record Caller(string Name, string? RequestId = null)
{
    private static readonly AsyncLocal<Caller?> Ambient = new();

    /// <summary>What the caller may do; everything for whoever works on the database directly.</summary>
    public Scope Scope { get; init; } = Scope.Admin;

    /// <summary>The user's or key's name alone, as policies list it.</summary>
    public string Person => Name.StartsWith(KeyPrefix, StringComparison.Ordinal) ? Name[KeyPrefix.Length..] : Name;

    private const string KeyPrefix = "key ", Local = "local";

    /// <summary>True for whoever asked a server from its own machine without a key.</summary>
    public bool IsAnybody => Name == Local;

    /// <summary>Somebody on the server's own machine, who was not asked for a key.</summary>
    public static Caller OfThisMachine(string? request) => new(Local, request);

    /// <summary>
    /// The user whose process this is. In a container a user may have a number and no name: the number and the machine tell two of them
    /// apart, where an empty name would make one approver of them.
    /// </summary>
    public static Caller OfProcess() =>
        new(Environment.UserName is { Length: > 0 } name ? name : $"uid {UserId()}@{Environment.MachineName}");

    private static string UserId()
    {
        const string Status = "/proc/self/status";
        // "Uid: real effective saved file-system"
        string? line =
            File.Exists(Status) ? File.ReadLines(Status).FirstOrDefault(l => l.StartsWith("Uid:", StringComparison.Ordinal)) : null;
        return line?.Split('\t', StringSplitOptions.RemoveEmptyEntries) is [_, _, { } effective, ..] ? effective : "unknown";
    }

    /// <summary>ArmoFlow itself, where nobody else asked.</summary>
    public static Caller System { get; } = new("armoflow");

    public static Caller Current
    {
        get => Ambient.Value ?? System;
        set => Ambient.Value = value;
    }
}
