using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Api;
using ArmoFlow.Orchestrator.Runs;

namespace ArmoFlow.Cli.Runs;

/// <summary>Runs, wherever they are kept: in a workspace or behind a server.</summary>
internal interface IRunClient : IAsyncDisposable
{
    Task<RunDocument> Find(Guid id, CancellationToken cancel);
    Task<RunSpec> FindSpec(Guid id, CancellationToken cancel);
    Task<RunPage> List(RunFilter filter, CancellationToken cancel);
    Task<RunDocument> Control(Guid id, string action, CancellationToken cancel);

    /// <summary>The run's document and progress whenever they change, until it ends.</summary>
    IAsyncEnumerable<RunEvent> Watch(Guid id, CancellationToken cancel);

    /// <summary>Writes an artifact's bytes to a file.</summary>
    Task Download(string sha256, string path, CancellationToken cancel);

    static IRunClient Open(string? server, string workspace) => server is null ? new WorkspaceClient(workspace) : new ServerClient(server);

    static UsageException Unknown(Guid id) => new($"no run {id}. See: armoflow runs list.");
}
