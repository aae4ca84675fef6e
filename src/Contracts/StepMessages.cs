using System.Text.Json;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Contracts;

/// <summary>
/// Asks a worker for one step of a run. A step that takes long does a slice of its work for each message and sends itself the
/// next, so that no message is held for more than a minute or so.
/// </summary>
public abstract record StepCommand
{
    /// <summary>The run.</summary>
    public required Guid RunId { get; init; }

    /// <summary>Of messages from before version 2; since then the run's row holds the spec.</summary>
    public RunSpec? Spec { get; init; }

    /// <summary>Which spec the asking is for; empty in messages from before version 2.</summary>
    public string SpecDigest { get; init; } = "";

    /// <summary>The artifacts of the steps before, by name.</summary>
    public required Dictionary<string, ArtifactRef> Inputs { get; init; }

    /// <summary>Tells this asking from an earlier one of the same run, whose late answers the saga ignores.</summary>
    public required int Attempt { get; init; }

    /// <summary>0 for the first message of a step.</summary>
    public int Slice { get; init; }
}

/// <summary>A step is finished, or was found finished.</summary>
public abstract record StepCompleted
{
    // Not required members: the workers' common glue creates these by their type parameter.

    /// <summary>The run.</summary>
    public Guid RunId { get; init; }

    /// <summary>Which asking this answers.</summary>
    public int Attempt { get; init; }

    /// <summary>The step's key.</summary>
    public string StepKey { get; init; } = "";

    /// <summary>True where the result was there already.</summary>
    public bool Reused { get; init; }

    /// <summary>One line for a reader.</summary>
    public string Detail { get; init; } = "";

    /// <summary>What the step made, by name.</summary>
    public Dictionary<string, ArtifactRef> Outputs { get; init; } = [];

    /// <summary>Figures of the step for the run's document.</summary>
    public JsonElement Metrics { get; init; }
}

/// <summary>A step will not succeed: the input is at fault, or retries are used up.</summary>
public sealed record StepFailed
{
    /// <summary>The run.</summary>
    public required Guid RunId { get; init; }

    /// <summary>Which asking this answers.</summary>
    public required int Attempt { get; init; }

    /// <summary>The step's name.</summary>
    public required string Step { get; init; }

    /// <summary>Why, in words for the user.</summary>
    public required string Error { get; init; }

    /// <summary>True where the user's input is at fault and a retry without a change is in vain.</summary>
    public required bool BadInput { get; init; }
}

/// <summary>A step found an artifact missing or altered: what made it is to be done again.</summary>
public sealed record ArtifactLost
{
    /// <summary>The run.</summary>
    public required Guid RunId { get; init; }

    /// <summary>Which asking this answers.</summary>
    public required int Attempt { get; init; }

    /// <summary>The step whose output it is.</summary>
    public required string MadeBy { get; init; }

    /// <summary>What is missing, in words for the user.</summary>
    public required string Error { get; init; }
}

/// <summary>The work that a run waited for was finished, or given up by the run that did it: it is to ask for its step again.</summary>
/// <param name="RunId">The run that waited.</param>
/// <param name="Attempt">The asking that waited.</param>
public sealed record StepReleased(Guid RunId, int Attempt);

/// <summary>How far a step is. Loss of one of these harms nothing.</summary>
public sealed record StepProgressed
{
    /// <summary>The run.</summary>
    public required Guid RunId { get; init; }

    /// <summary>The step's name.</summary>
    public required string Step { get; init; }

    /// <summary>What is counted, such as conversations.</summary>
    public required string Unit { get; init; }

    /// <summary>How many are done.</summary>
    public required long Done { get; init; }

    /// <summary>0 where the end is not known.</summary>
    public required long Total { get; init; }
}
