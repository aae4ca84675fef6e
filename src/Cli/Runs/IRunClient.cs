using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Cli.Runs;

/// <summary>Runs, wherever they are kept: in a workspace or behind a server.</summary>
internal interface IRunClient : IAsyncDisposable
{
    Task<RunDocument> Find(Guid id, CancellationToken cancel);
    Task<RunSpec> FindSpec(Guid id, CancellationToken cancel);
    Task<RunPage> List(RunFilter filter, CancellationToken cancel);
    Task<RunDocument> Control(Guid id, RunAction action, CancellationToken cancel);

    /// <summary>The run's document and progress whenever they change, until it ends.</summary>
    IAsyncEnumerable<RunEvent> Watch(Guid id, CancellationToken cancel);

    /// <summary>Writes an artifact's bytes to a file.</summary>
    Task Download(string sha256, string path, CancellationToken cancel);

    Task<IReadOnlyList<StepLogDocument>> Logs(Guid id, string? step, CancellationToken cancel);

    /// <summary>A log's text; null if its artifact is gone.</summary>
    Task<string?> TextOf(StepLogDocument log, CancellationToken cancel);
    Task<IReadOnlyList<WorkerDocument>> Workers(CancellationToken cancel);
    Task<IReadOnlyList<FaultGroup>> Faults(CancellationToken cancel);
    Task<IReadOnlyList<FaultDocument>> Faults(string which, CancellationToken cancel);

    /// <summary>Redelivers or archives the open faults of a group, one by its number, or all; returns how many.</summary>
    Task<int> Decide(string which, FaultDecision decision, CancellationToken cancel);

    static async Task<IRunClient> Open(string? server, string workspace) =>
        server is null ? await WorkspaceClient.Open(workspace) : new ServerClient(server);

    static UsageException Unknown(Guid id) => new($"no run {id}. See: armoflow runs list.");
}
