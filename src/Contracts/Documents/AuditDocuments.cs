using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Serialization;

namespace ArmoFlow.Contracts.Documents;

/// <summary>Events, newest first, and where the next page begins.</summary>
public sealed record AuditPage(IReadOnlyList<AuditEventDocument> Events, string? Cursor);

/// <summary>The trail's end at a time, to be kept where nobody who owns the database can reach it.</summary>
public sealed record SignedHead(long Sequence, string Hash, DateTimeOffset At)
{
    /// <summary>The signer's public key (PEM, ECDSA on P-256); null for a head that nobody signed.</summary>
    public string? PublicKey { get; init; }

    /// <summary>ECDSA with SHA-256 over "sequence hash time", base 64.</summary>
    public string? Signature { get; init; }

    /// <summary>The head with a signature.</summary>
    public SignedHead Sign(ECDsa key) =>
        this with
        {
            PublicKey = key.ExportSubjectPublicKeyInfoPem(),
            Signature = Convert.ToBase64String(key.SignData(Signed(), HashAlgorithmName.SHA256))
        };

    /// <summary>True if it was signed by the holder of the key.</summary>
    public bool IsSignedBy(string publicKey)
    {
        using ECDsa key = ECDsa.Create();
        key.ImportFromPem(publicKey);
        return Signature is not null && key.VerifyData(Signed(), Convert.FromBase64String(Signature), HashAlgorithmName.SHA256);
    }

    private byte[] Signed() => Encoding.UTF8.GetBytes($"{Sequence} {Hash} {At.UtcDateTime:O}");
}

/// <summary>What became of a trail, and of the rows that it vouches for.</summary>
/// <param name="Events">How many were looked at.</param>
/// <param name="IsWhole">True if no event and no row is altered, missing, added or out of place.</param>
/// <param name="BrokenAt">The first event that is not as it was written; null where the events are whole.</param>
/// <param name="What">What is wrong.</param>
/// <param name="HeadSequence">The newest event's number.</param>
/// <param name="HeadHash">Its hash; kept elsewhere, it shows later that nobody has written the whole trail anew.</param>
public sealed record AuditVerdict(long Events, bool IsWhole, long? BrokenAt, string? What, long HeadSequence, string HeadHash)
{
    /// <summary>How many rows were held against the events; null where there were none to hold.</summary>
    public long? Rows { get; init; }

    /// <summary>Rows that are not as the events say, the first hundred.</summary>
    public IReadOnlyList<RowFinding> Findings { get; init; } = [];

    /// <summary>How many such rows there are.</summary>
    public long FindingCount { get; init; }

    /// <summary>Rows of finished steps that no run has recorded, and so no event vouches for yet.</summary>
    public long Unrecorded { get; init; }

    /// <summary>The event by which rows were taken in that were there before; nothing vouches for what they were until then.</summary>
    public long? AdoptedAt { get; init; }

    /// <summary>How many rows that were.</summary>
    public long AdoptedRows { get; init; }
}

/// <summary>How far a verification has come.</summary>
public sealed record AuditProgress(long Events, long Rows);

/// <summary>A row that is not as the trail says.</summary>
/// <param name="Table">Its table.</param>
/// <param name="Key">Its key's values, as a JSON array.</param>
/// <param name="Columns">The columns that differ; empty where that cannot be told.</param>
/// <param name="What">What is wrong with it.</param>
/// <param name="Event">The event that vouches for what it should be; null where none does.</param>
public sealed record RowFinding(string Table, string Key, IReadOnlyList<string> Columns, string What, long? Event)
{
    /// <summary>In words.</summary>
    public override string ToString() => $"{Table} {Key}: {What}";
}

/// <summary>What happened, who did it and what it changed. Never altered; each is bound to the one before by its hash.</summary>
public sealed record AuditEventDocument
{
    /// <summary>1 for the first; without gaps.</summary>
    public required long Sequence { get; init; }

    /// <summary>When it happened.</summary>
    public required DateTimeOffset At { get; init; }

    /// <summary>Who did it.</summary>
    public required string Actor { get; init; }

    /// <summary>What was done, such as 'run.submitted' or 'model.promoted'.</summary>
    public required string Action { get; init; }

    /// <summary>To what, such as 'run/ID' or 'model/NAME'.</summary>
    public required string Subject { get; init; }

    /// <summary>As JSON; null for what was not there before, or is not there after.</summary>
    public required string? Before { get; init; }

    /// <summary>What it was afterwards, as JSON.</summary>
    public required string? After { get; init; }

    /// <summary>The request that it came of.</summary>
    public required string? RequestId { get; init; }

    /// <summary>The rows that it vouches for, a JSON array [table, key, before, after, marks] for each; null for none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Rows { get; init; }

    /// <summary>The hash of the event before.</summary>
    public required string PreviousHash { get; init; }

    /// <summary>The event's own hash, over its contents and the hash before.</summary>
    public required string Hash { get; init; }
}
