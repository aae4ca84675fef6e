using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Audit;

/// <summary>What happened, who did it and what it changed. Never altered; each is bound to the one before by its hash.</summary>
public sealed class AuditEvent
{
    /// <summary>1 for the first; without gaps.</summary>
    public long Sequence { get; set; }
    public DateTimeOffset At { get; set; }
    public string Actor { get; set; } = "";

    /// <summary>What was done, such as 'run.submitted' or 'model.promoted'.</summary>
    public string Action { get; set; } = "";

    /// <summary>To what, such as 'run/ID' or 'model/NAME'.</summary>
    public string Subject { get; set; } = "";

    /// <summary>As JSON; null for what was not there before, or is not there after.</summary>
    public string? Before { get; set; }
    public string? After { get; set; }
    public string? RequestId { get; set; }

    /// <summary>The rows that it vouches for, as <see cref="BoundRow.Write"/> makes them; null for none.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Rows { get; set; }
    public string PreviousHash { get; set; } = "";
    public string Hash { get; set; } = "";

    /// <summary>
    /// Lower-case hex sha256 of a JSON array of all other members, in this order; times in UTC with seven decimals. An event
    /// without rows has no element for them, as no event had before there were any.
    /// </summary>
    public string ComputeHash() =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture,
            $"[\"{Sequence}\",{Told()},\"{PreviousHash}\"]"))));

    /// <summary>
    /// The part of what is hashed that is known before its place in the trail is: all but the first and last elements of the array.
    /// </summary>
    internal string Told()
    {
        string at = At.UtcDateTime.ToString("O", CultureInfo.InvariantCulture);
        string?[] told = Rows is null ? [at, Actor, Action, Subject, Before, After, RequestId]
            : [at, Actor, Action, Subject, Before, After, RequestId, Rows];
        return JsonSerializer.Serialize(told)[1..^1];
    }
}

/// <summary>The newest event's number and hash: what a cut-off end of the trail is found by.</summary>
public sealed record AuditHead
{
    public static string Start { get; } = new('0', 64);

    /// <summary>1: there is one row.</summary>
    public int Id { get; set; } = 1;
    public long Sequence { get; set; }
    public string Hash { get; set; } = Start;
}

internal sealed class AuditEventConfiguration : IEntityTypeConfiguration<AuditEvent>
{
    public void Configure(EntityTypeBuilder<AuditEvent> e)
    {
        e.HasKey(a => a.Sequence);
        e.Property(a => a.Sequence).ValueGeneratedNever();
        e.HasIndex(a => new { a.Subject, a.Sequence });
        e.HasIndex(a => new { a.Action, a.Sequence });
        e.HasIndex(a => new { a.Actor, a.Sequence });
        e.HasIndex(a => a.At);
    }
}

internal sealed class AuditHeadConfiguration : IEntityTypeConfiguration<AuditHead>
{
    public void Configure(EntityTypeBuilder<AuditHead> head)
    {
        head.Property(h => h.Id).ValueGeneratedNever();
        head.HasData(new AuditHead());
    }
}
