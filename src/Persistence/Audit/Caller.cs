namespace ArmoFlow.Persistence.Audit;

/// <summary>On whose behalf the code at hand runs.</summary>
/// <param name="Name">A user, or the name of an access key.</param>
/// <param name="RequestId">What ties the events of one request together; null outside of one.</param>
public sealed record Caller(string Name, string? RequestId = null)
{
    private static readonly AsyncLocal<Caller?> Ambient = new();

    /// <summary>ArmoFlow itself, where nobody else asked.</summary>
    public static Caller System { get; } = new("armoflow");

    public static Caller Current
    {
        get => Ambient.Value ?? System;
        set => Ambient.Value = value;
    }
}
