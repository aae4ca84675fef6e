namespace ArmoFlow.Orchestrator.Access;

/// <summary>How much somebody may do: so many at once, and so many more each second.</summary>
public sealed record Budget(double Burst, double PerSecond);

/// <summary>
/// What is left of a budget, for each of a bounded number of names. Where more names come than there is room for, those that have
/// spent least make room, since forgetting them gives nobody anything back that matters. No clock runs: an idle server does nothing.
/// </summary>
public sealed class Budgets(Budget budget, int room, TimeProvider time)
{
    private readonly Dictionary<string, (double Left, long At)> _left = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();

    /// <summary>How many names it knows; never more than it has room for.</summary>
    public int Count
    {
        get { lock (_lock) return _left.Count; }
    }

    /// <summary>True while there is something left to spend.</summary>
    public bool Has(string name)
    {
        lock (_lock) return !_left.ContainsKey(name) || Left(name) >= 1;
    }

    /// <summary>Spends one; false where nothing is left.</summary>
    public bool Spend(string name)
    {
        lock (_lock)
        {
            if (_left.Count >= room && !_left.ContainsKey(name)) MakeRoom();
            double left = Left(name);
            bool isAllowed = left >= 1;
            _left[name] = (isAllowed ? left - 1 : left, time.GetTimestamp());
            return isAllowed;
        }
    }

    private double Left(string name) => _left.TryGetValue(name, out (double Left, long At) known)
        ? Math.Min(budget.Burst, known.Left + (time.GetElapsedTime(known.At).TotalSeconds * budget.PerSecond)) : budget.Burst;

    /// <summary>A quarter of the room at a time, so that this is not done for each new name.</summary>
    private void MakeRoom()
    {
        string[] frugal = [.. _left.Keys.OrderByDescending(Left).Take(Math.Max(1, room / 4))];
        foreach (string name in frugal) _left.Remove(name);
    }
}
