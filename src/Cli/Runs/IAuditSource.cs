using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Audit;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Runs;

/// <summary>The audit trail, of a workspace or behind a server.</summary>
internal interface IAuditSource : IAsyncDisposable
{
    Task<AuditPage> Query(string? where, string? cursor, int limit, CancellationToken cancel);
    Task<AuditVerdict> Verify(IProgress<AuditProgress> progress, CancellationToken cancel);
    Task<SignedHead> Head(CancellationToken cancel);
    Task<bool> Holds(SignedHead head, CancellationToken cancel);

    static async Task<IAuditSource> Open(string? server, string workspace) =>
        server is null ? new WorkspaceTrail(await EmbeddedHost.OpenDatabase(workspace)) : new ServerTrail(server);

    private sealed class WorkspaceTrail(ServiceProvider services) : IAuditSource
    {
        private AuditStore Audit => services.GetRequiredService<AuditStore>();

        public Task<AuditPage> Query(string? where, string? cursor, int limit, CancellationToken cancel) =>
            Audit.Query(where, cursor, limit, cancel);
        public Task<AuditVerdict> Verify(IProgress<AuditProgress> progress, CancellationToken cancel) => Audit.Verify(cancel, progress);
        public Task<SignedHead> Head(CancellationToken cancel) => Audit.Head(cancel);
        public Task<bool> Holds(SignedHead head, CancellationToken cancel) => Audit.Holds(head, cancel);
        public ValueTask DisposeAsync() => services.DisposeAsync();
    }

    private sealed class ServerTrail(string server) : IAuditSource
    {
        private readonly ServerClient _client = new(server);

        public Task<AuditPage> Query(string? where, string? cursor, int limit, CancellationToken cancel) =>
            _client.Get<AuditPage>(ApiAddress.Of($"api/v1/audit", ("limit", limit), ("where", where), ("cursor", cursor)),
                cancel);

        public Task<AuditVerdict> Verify(IProgress<AuditProgress> progress, CancellationToken cancel) =>
            _client.Get<AuditVerdict>("api/v1/audit/verify", cancel);
        public Task<SignedHead> Head(CancellationToken cancel) => _client.Get<SignedHead>("api/v1/audit/head", cancel);

        public async Task<bool> Holds(SignedHead head, CancellationToken cancel) => head.Sequence == 0
            || (await Query($"sequence = {head.Sequence}", null, 1, cancel)).Events is [{ } e] && e.Hash == head.Hash;

        public ValueTask DisposeAsync() => _client.DisposeAsync();
    }
}
