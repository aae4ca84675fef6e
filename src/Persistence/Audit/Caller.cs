using ArmoFlow.Persistence.Access;

namespace ArmoFlow.Persistence.Audit;

/// <summary>On whose behalf the code at hand runs.</summary>
/// <param name="Name">A user, or the name of an access key.</param>
/// <param name="RequestId">What ties the events of one request together; null outside of one.</param>
public sealed record Caller(string Name, string? RequestId = null)
{
    private static readonly AsyncLocal<Caller?> Ambient = new();

    /// <summary>What the caller may do; everything for whoever works on the books themselves.</summary>
    public Scope Scope { get; init; } = Scope.Admin;

    /// <summary>The user's or key's name alone, as policies list it.</summary>
    public string Person => Name.StartsWith(KeyPrefix, StringComparison.Ordinal) ? Name[KeyPrefix.Length..] : Name;

    private const string KeyPrefix = "key ";

    /// <summary>ArmoFlow itself, where nobody else asked.</summary>
    public static Caller System { get; } = new("armoflow");

    public static Caller Current
    {
        get => Ambient.Value ?? System;
        set => Ambient.Value = value;
    }
}
