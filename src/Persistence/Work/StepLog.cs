using ArmoFlow.Contracts.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;

namespace ArmoFlow.Persistence.Work;

/// <summary>
/// What a worker wrote down while it had a slice of work in hand: its text is here while the work goes on, and an artifact
/// once it has ended, also where its worker ended without a word.
/// </summary>
public sealed class StepLog
{
    public Guid Id { get; set; }
    public Guid RunId { get; set; }
    public string Step { get; set; } = "";

    /// <summary>Tells the shards of one step apart; 0 for a step that is not cut.</summary>
    public int Slot { get; set; }
    public int Attempt { get; set; }
    public Guid Worker { get; set; }
    public DateTimeOffset StartedAt { get; set; }
    public DateTimeOffset? EndedAt { get; set; }

    public LogOutcome Outcome { get; set; }
    public string? Text { get; set; }
    public string? Sha256 { get; set; }
}

internal sealed class StepLogConfiguration : IEntityTypeConfiguration<StepLog>
{
    public void Configure(EntityTypeBuilder<StepLog> log)
    {
        log.HasIndex(l => new { l.RunId, l.StartedAt });
        log.HasIndex(l => l.Worker).HasFilter("ended_at is null");
    }
}
