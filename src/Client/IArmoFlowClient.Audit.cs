using ArmoFlow.Contracts.Documents;

namespace ArmoFlow.Client;

/// <summary>The audit trail, and the keys of those that it names.</summary>
public partial interface IArmoFlowClient
{
    /// <summary>Events, newest first.</summary>
    /// <param name="where">Of the filter language; null for all.</param>
    /// <param name="cursor">Where the page before ended; null for the newest.</param>
    /// <param name="limit">How many at most.</param>
    /// <param name="cancel">Gives up.</param>
    Task<AuditPage> QueryAudit(string? where, string? cursor, int limit, CancellationToken cancel);

    /// <summary>Follows the chain of hashes to its head, and holds every row against the events.</summary>
    /// <param name="progress">Told how far it is, where that is known.</param>
    /// <param name="cancel">Gives up.</param>
    Task<AuditVerdict> VerifyAudit(IProgress<AuditProgress>? progress, CancellationToken cancel);

    /// <summary>The trail's end, to be kept elsewhere.</summary>
    Task<SignedHead> AuditHead(CancellationToken cancel);

    /// <summary>True where the trail still holds a head that was kept.</summary>
    Task<bool> HoldsHead(SignedHead head, CancellationToken cancel);

    /// <summary>Writes all events, oldest first.</summary>
    /// <param name="format">Of the events.</param>
    /// <param name="withRows">True to have the rows that they vouch for follow, as of the same moment; as JSON lines alone.</param>
    /// <param name="to">Where they go.</param>
    /// <param name="cancel">Gives up.</param>
    Task ExportAudit(AuditFormat format, bool withRows, Stream to, CancellationToken cancel);

    /// <summary>Keys to the API, without their secrets.</summary>
    Task<IReadOnlyList<KeyDocument>> ListKeys(CancellationToken cancel);

    /// <summary>Makes a key; the answer is the only place where its secret stands.</summary>
    Task<NewKey> CreateKey(KeyRequest request, CancellationToken cancel);

    /// <summary>Revokes a key, at once and for good.</summary>
    Task RevokeKey(string id, CancellationToken cancel);
}
