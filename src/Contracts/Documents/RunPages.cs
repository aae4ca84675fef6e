using ArmoFlow.Contracts.Runs;

namespace ArmoFlow.Contracts.Documents;

public sealed record RunFilter
{
    public RunStatus? Status { get; init; }
    public string? Name { get; init; }
    public string? Tag { get; init; }
    public DateTimeOffset? From { get; init; }
    public DateTimeOffset? To { get; init; }

    /// <summary>Text to find in the name, the error or the id.</summary>
    public string? Q { get; init; }

    /// <summary>
    /// Of the filter language; its fields are ended, error, heldout, id, name, score, spec, status, submitted, tag and trigger.
    /// </summary>
    public string? Where { get; init; }

    /// <summary>Where the page before ended.</summary>
    public string? Cursor { get; init; }
    public int Limit { get; init; } = 50;
}

public sealed record RunPage(IReadOnlyList<RunDocument> Runs, string? Cursor);

/// <summary>A run's state with how far its step is, as the event stream sends it.</summary>
public sealed record RunEvent(RunDocument Run, StepProgressed? Progress);

public sealed record RunAccepted(Guid RunId);
