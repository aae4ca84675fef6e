namespace ArmoFlow.Contracts;

/// <summary>Names of the steps, as the command line, the run's document and the queues show them.</summary>
public static class StepNames
{
    /// <summary>Reads and rescales the data.</summary>
    public const string Ingestion = "ingestion";

    /// <summary>Extracts features from the frozen LLM.</summary>
    public const string Features = "features";

    /// <summary>Fits a linear reward for each objective.</summary>
    public const string Regression = "regression";

    /// <summary>Takes verbosity out of the rewards.</summary>
    public const string Decorrelation = "decorrelation";

    /// <summary>Trains the gate.</summary>
    public const string Gating = "gating";

    /// <summary>Scores the model and its baselines.</summary>
    public const string Evaluation = "evaluation";
}

/// <summary>A step, as every part of the program knows it.</summary>
/// <param name="Name">Its name, which is also its queue's.</param>
/// <param name="Version">Part of the step's key: raised when the same inputs and parameters would give other outputs.</param>
/// <param name="State">The state of a run that waits for it.</param>
/// <param name="Outputs">The names of the artifacts that it makes.</param>
public abstract record Step(string Name, int Version, string State, IReadOnlyList<string> Outputs)
{
    /// <summary>The message that asks for it.</summary>
    public abstract Type Command { get; }

    /// <summary>The message that says that it is finished.</summary>
    public abstract Type Completed { get; }

    /// <summary>Where its commands go.</summary>
    public Uri Queue => new($"queue:{Name}");

    /// <summary>The command that asks for it.</summary>
    /// <param name="run">The run.</param>
    /// <param name="specDigest">The digest of its spec.</param>
    /// <param name="inputs">The artifacts of the steps before, by name.</param>
    /// <param name="attempt">The number of the request; answers to an earlier one are ignored.</param>
    public StepCommand Ask(Guid run, string specDigest, IReadOnlyDictionary<string, ArtifactRef> inputs, int attempt) =>
        (StepCommand)Activator.CreateInstance(Command)! with
        {
            RunId = run,
            SpecDigest = specDigest,
            Inputs = new Dictionary<string, ArtifactRef>(inputs),
            Attempt = attempt,
        };
}

/// <summary>A step with the types of its messages.</summary>
/// <typeparam name="TCommand">Asks for it.</typeparam>
/// <typeparam name="TCompleted">Says that it is finished.</typeparam>
public sealed record Step<TCommand, TCompleted>(string Name, int Version, string State, params string[] Made)
    : Step(Name, Version, State, Made)
    where TCommand : StepCommand
    where TCompleted : StepCompleted, new()
{
    /// <inheritdoc/>
    public override Type Command => typeof(TCommand);

    /// <inheritdoc/>
    public override Type Completed => typeof(TCompleted);
}
