namespace ArmoFlow.Contracts;

/// <summary>
/// What orchestrators and workers must agree on. It changes only where an older process would misunderstand a message; a new
/// optional member is no such change. Version 2: a command names its run's spec by digest, no longer holds it.
/// </summary>
public static class Protocol
{
    /// <summary>Of the messages; processes of another one do not start.</summary>
    public const string Version = "2";

    /// <summary>Under which name the database keeps the version that their processes speak.</summary>
    public const string Setting = "protocol";
}
