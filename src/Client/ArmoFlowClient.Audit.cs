using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Client;

/// <content>The audit trail, and the keys of those that it names.</content>
public sealed partial class ArmoFlowClient
{
    /// <inheritdoc/>
    public Task<AuditPage> QueryAudit(string? where, string? cursor, int limit, CancellationToken cancel) =>
        Get<AuditPage>(ApiAddress.Of($"api/v1/audit", ("limit", limit), ("where", where), ("cursor", cursor)), cancel);

    /// <inheritdoc/>
    public Task<AuditVerdict> VerifyAudit(IProgress<AuditProgress>? progress, CancellationToken cancel) =>
        Get<AuditVerdict>("api/v1/audit/verify", cancel);

    /// <inheritdoc/>
    public Task<SignedHead> AuditHead(CancellationToken cancel) => Get<SignedHead>("api/v1/audit/head", cancel);

    /// <inheritdoc/>
    public async Task<bool> HoldsHead(SignedHead head, CancellationToken cancel)
    {
        if (head.Sequence == 0) return true;
        AuditPage page = await QueryAudit($"sequence = {head.Sequence}", null, 1, cancel);
        return page.Events is [{ } e] && e.Hash == head.Hash;
    }

    /// <inheritdoc/>
    public Task ExportAudit(AuditFormat format, bool withRows, Stream to, CancellationToken cancel)
    {
        string address = ApiAddress.Of($"api/v1/audit/export", ("format", format.Text()), ("rows", withRows));
        return Copy(HttpMethod.Get, address, null, to, cancel);
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<KeyDocument>> ListKeys(CancellationToken cancel) =>
        Get<IReadOnlyList<KeyDocument>>("api/v1/keys", cancel);

    /// <inheritdoc/>
    public Task<NewKey> CreateKey(KeyRequest request, CancellationToken cancel) =>
        Send<NewKey>(HttpMethod.Post, "api/v1/keys", request, cancel);

    /// <inheritdoc/>
    public Task RevokeKey(string id, CancellationToken cancel) =>
        Do(HttpMethod.Delete, ApiAddress.Of($"api/v1/keys/{id}"), cancel);
}
