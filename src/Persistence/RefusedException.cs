namespace ArmoFlow.Persistence;

/// <summary>Why something that was asked for is not done.</summary>
public enum Refusal
{
    /// <summary>What was given is wrong in itself.</summary>
    Unusable,

    /// <summary>There is nothing of that name.</summary>
    Missing,

    /// <summary>The state of things does not allow it.</summary>
    Conflict,

    /// <summary>No worker is available to do it.</summary>
    Unavailable,

    /// <summary>It is not the asker's to decide.</summary>
    Forbidden,
}

/// <summary>What was asked for is not done, for a reason that the asker can mend; the message says it in full.</summary>
public abstract class RefusedException(string message, Refusal refusal) : Exception(message)
{
    public Refusal Refusal { get; } = refusal;
}

/// <summary>A setting of the environment is not what it should be.</summary>
public sealed class SettingException(string message) : RefusedException(message, Refusal.Unusable);
