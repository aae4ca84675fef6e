namespace ArmoFlow.Persistence;

/// <summary>
/// Times in the database against the clock of now. A machine whose clock was ahead for a while leaves times there that lie in the future;
/// what waits for them would wait as long as the clock was ahead. Whoever compares a stored time with now asks here first.
/// </summary>
public static class Plausible
{
    /// <summary>So far machines' clocks may differ.</summary>
    public static readonly TimeSpan Tolerance = TimeSpan.FromMinutes(5);

    /// <summary>True for a time that something is said to have happened at, and that has not come yet.</summary>
    public static bool IsAhead(DateTimeOffset stored, DateTimeOffset now) => stored > now + Tolerance;

    /// <summary>The same for a time that something is to happen at, no later than so long after it was entered.</summary>
    public static bool IsAhead(DateTimeOffset stored, DateTimeOffset now, TimeSpan longest) => stored > now + longest + Tolerance;

    /// <summary>The latest time that something can have happened at.</summary>
    public static DateTimeOffset Latest(DateTimeOffset now) => now + Tolerance;
}
