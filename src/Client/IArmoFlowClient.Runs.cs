using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Client;

/// <summary>Runs, what they made, and who works on them.</summary>
public partial interface IArmoFlowClient
{
    /// <summary>Submits a run.</summary>
    /// <param name="spec">The spec, as YAML or JSON.</param>
    /// <param name="folder">What its relative paths are relative to, as the workers see it.</param>
    /// <param name="cancel">Gives up.</param>
    /// <returns>The run's id.</returns>
    Task<Guid> Submit(string spec, string folder, CancellationToken cancel);

    /// <summary>One run.</summary>
    Task<RunDocument> FindRun(Guid id, CancellationToken cancel);

    /// <summary>The spec that a run was submitted with.</summary>
    /// <param name="id">The run.</param>
    /// <param name="withoutForgotten">True for the spec without what was forgotten since.</param>
    /// <param name="cancel">Gives up.</param>
    Task<RunSpec> FindSpec(Guid id, bool withoutForgotten, CancellationToken cancel);

    /// <summary>Runs, newest first.</summary>
    Task<RunPage> ListRuns(RunFilter filter, CancellationToken cancel);

    /// <summary>Cancels, pauses, resumes or retries a run; 'pending' in the answer says that it has not come about yet.</summary>
    Task<RunDocument> Control(Guid id, RunAction action, CancellationToken cancel);

    /// <summary>The run's document and progress whenever they change, until it ends.</summary>
    IAsyncEnumerable<RunEvent> Watch(Guid id, CancellationToken cancel);

    /// <summary>What the gates say of a run; <see cref="RunGates.IsJudged"/> is false while that is still to be found out.</summary>
    Task<RunGates> Gates(Guid id, CancellationToken cancel);

    /// <summary>What workers wrote down at each attempt, oldest first.</summary>
    /// <param name="id">The run.</param>
    /// <param name="step">Only this step's; null for all.</param>
    /// <param name="cancel">Gives up.</param>
    Task<IReadOnlyList<StepLogDocument>> Logs(Guid id, string? step, CancellationToken cancel);

    /// <summary>A log's text; null if its artifact is gone.</summary>
    Task<string?> TextOf(StepLogDocument log, CancellationToken cancel);

    /// <summary>Copies an artifact's bytes.</summary>
    /// <param name="sha256">The artifact.</param>
    /// <param name="to">Where they go.</param>
    /// <param name="cancel">Gives up.</param>
    Task CopyArtifact(string sha256, Stream to, CancellationToken cancel);

    /// <summary>The finished steps that an artifact came from, or that used it, nearest first.</summary>
    /// <param name="sha256">The artifact, or a file that a run read.</param>
    /// <param name="direction">Up for what it came from, down for what used it.</param>
    /// <param name="run">Only the steps that this run went by; null for all.</param>
    /// <param name="cancel">Gives up.</param>
    Task<IReadOnlyList<LineageStep>> Trace(string sha256, LineageDirection direction, Guid? run, CancellationToken cancel);

    /// <summary>The versions of models that were made with a conversation.</summary>
    Task<IReadOnlyList<UsedBy>> UsersOf(string conversation, CancellationToken cancel);

    /// <summary>The workers whose heartbeat is heard.</summary>
    Task<IReadOnlyList<WorkerDocument>> Workers(CancellationToken cancel);

    /// <summary>Messages that were set aside, alike ones grouped.</summary>
    Task<IReadOnlyList<FaultGroup>> FaultGroups(CancellationToken cancel);

    /// <summary>The faults of a group, or one by its number; none where there is nothing of that name.</summary>
    Task<IReadOnlyList<FaultDocument>> Faults(string which, CancellationToken cancel);

    /// <summary>Redelivers or archives the open faults of a group, one by its number, or 'all'.</summary>
    /// <returns>How many.</returns>
    Task<int> Decide(string which, FaultDecision decision, CancellationToken cancel);
}
