using ArmoFlow.Contracts.Runs;

namespace ArmoFlow.Contracts.Documents;

/// <summary>Which runs are listed; what is null does not count.</summary>
public sealed record RunFilter
{
    /// <summary>In this status.</summary>
    public RunStatus? Status { get; init; }

    /// <summary>Of this name.</summary>
    public string? Name { get; init; }

    /// <summary>With this tag.</summary>
    public string? Tag { get; init; }

    /// <summary>Submitted then or later.</summary>
    public DateTimeOffset? From { get; init; }

    /// <summary>Submitted then or before.</summary>
    public DateTimeOffset? To { get; init; }

    /// <summary>Text to find in the name, the error or the id.</summary>
    public string? Q { get; init; }

    /// <summary>
    /// Of the filter language; its fields are ended, error, heldout, id, name, score, spec, status, submitted, tag and trigger.
    /// </summary>
    public string? Where { get; init; }

    /// <summary>Where the page before ended.</summary>
    public string? Cursor { get; init; }

    /// <summary>How many at most.</summary>
    public int Limit { get; init; } = 50;
}

/// <summary>A page of runs.</summary>
/// <param name="Runs">Newest first.</param>
/// <param name="Cursor">Where the page ended, for the next one; null at the end.</param>
public sealed record RunPage(IReadOnlyList<RunDocument> Runs, string? Cursor);

/// <summary>A run's state with how far its step is, as the event stream sends it.</summary>
public sealed record RunEvent(RunDocument Run, StepProgressed? Progress);

/// <summary>A run that was submitted.</summary>
/// <param name="RunId">The run's id.</param>
public sealed record RunAccepted(Guid RunId);
