using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Retention;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Retention;

/// <summary>That something is kept whatever the rules say.</summary>
public sealed class LegalHold
{
    /// <summary>run/ID or model/NAME.</summary>
    public string Subject { get; set; } = "";
    public string Reason { get; set; } = "";
    public string By { get; set; } = "";
    public DateTimeOffset At { get; set; }
}

/// <summary>Collections by the clock: the rules that they follow, and what became of the last. There is one row, or none.</summary>
public sealed class RetentionPolicy
{
    /// <summary>1: there is one row.</summary>
    public int Id { get; set; } = 1;
    public double OlderThanDays { get; set; }
    public int KeepLast { get; set; }

    /// <summary>Five fields, or six with seconds first.</summary>
    public string Cron { get; set; } = "";

    /// <summary>IANA name.</summary>
    public string TimeZone { get; set; } = "UTC";
    public string SetBy { get; set; } = "";
    public DateTimeOffset ActiveSince { get; set; }

    /// <summary>When the last collection began; of two orchestrators that see a time come, the one that enters it collects.</summary>
    public DateTimeOffset? LastAt { get; set; }

    /// <summary>What it removed, or why it did not.</summary>
    public string? LastOutcome { get; set; }
}

/// <summary>An artifact whose bytes were collected: what it was can still be said, and that it is gone on purpose.</summary>
public sealed class Tombstone
{
    public string Sha256 { get; set; } = "";
    public long Bytes { get; set; }
    public string Why { get; set; } = "";

    /// <summary>When it was decided; the bytes go afterwards.</summary>
    public DateTimeOffset At { get; set; }

    /// <summary>Null until the bytes are gone: a collection that was cut short goes on with these.</summary>
    public DateTimeOffset? RemovedAt { get; set; }

    /// <summary>The same table without the rows that were to be forgotten; null where nothing took its place.</summary>
    public string? ReplacedBy { get; set; }
}

/// <summary>A conversation, a source or a file that no run reads from now on, unless that was lifted.</summary>
public sealed class Exclusion
{
    public ExclusionKind Kind { get; set; }

    /// <summary>A conversation's id, a source's name, or a file's sha256.</summary>
    public string Value { get; set; } = "";
    public string Reason { get; set; } = "";
    public string By { get; set; } = "";
    public DateTimeOffset At { get; set; }

    /// <summary>Of a file: the source that it was forgotten with; null where it was named itself.</summary>
    public string? Origin { get; set; }

    /// <summary>The versions that were made with it, as it was known when it was forgotten: what told of it is gone since.</summary>
    public List<UsedBy>? Users { get; set; }
    public DateTimeOffset? LiftedAt { get; set; }
    public string? LiftedBy { get; set; }
    public string? LiftedReason { get; set; }

    /// <summary>How errors speak of it.</summary>
    public override string ToString() => $"{Kind.Text()} {Value} was forgotten on {At.UtcDateTime:yyyy-MM-dd} by {By}";
}

internal sealed class TombstoneConfiguration : IEntityTypeConfiguration<Tombstone>
{
    public void Configure(EntityTypeBuilder<Tombstone> tombstone)
    {
        tombstone.HasKey(t => t.Sha256);
        tombstone.HasIndex(t => t.At).HasFilter("removed_at is null");
    }
}

internal sealed class ExclusionConfiguration : IEntityTypeConfiguration<Exclusion>
{
    public void Configure(EntityTypeBuilder<Exclusion> exclusion)
    {
        exclusion.HasKey(e => new { e.Kind, e.Value });
        exclusion.Property(e => e.Users).AsJson(isReplacedWhole: true);
    }
}

internal sealed class RetentionPolicyConfiguration : IEntityTypeConfiguration<RetentionPolicy>
{
    public void Configure(EntityTypeBuilder<RetentionPolicy> row) => row.Property(p => p.Id).ValueGeneratedNever();
}

internal sealed class LegalHoldConfiguration : IEntityTypeConfiguration<LegalHold>
{
    public void Configure(EntityTypeBuilder<LegalHold> row) => row.HasKey(h => h.Subject);
}
