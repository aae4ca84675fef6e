using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Audit;

namespace ArmoFlow.Orchestrator.Clients;

/// <content>The audit trail, and the keys of those that it names.</content>
public partial class RecordsClient
{
    public Task<AuditPage> QueryAudit(string? where, string? cursor, int limit, CancellationToken cancel) =>
        Get<AuditStore>().Query(where, cursor, limit, cancel);

    public Task<AuditVerdict> VerifyAudit(IProgress<AuditProgress>? progress, CancellationToken cancel) =>
        Get<AuditStore>().Verify(cancel, progress);

    public Task<SignedHead> AuditHead(CancellationToken cancel) => Get<AuditStore>().Head(cancel);

    public Task<bool> HoldsHead(SignedHead head, CancellationToken cancel) => Get<AuditStore>().Holds(head, cancel);

    public Task ExportAudit(AuditFormat format, bool withRows, Stream to, CancellationToken cancel) =>
        Get<AuditStore>().Export(to, format == AuditFormat.Parquet, cancel, withRows ? to : null);

    public async Task<IReadOnlyList<KeyDocument>> ListKeys(CancellationToken cancel) =>
        [.. (await Get<AccessKeyStore>().List(cancel)).Select(k => k.ToDocument())];

    public Task<NewKey> CreateKey(KeyRequest request, CancellationToken cancel) => Get<AccessKeyStore>().Create(request, cancel);

    public Task RevokeKey(string id, CancellationToken cancel) => Get<AccessKeyStore>().Revoke(id, cancel);
}
