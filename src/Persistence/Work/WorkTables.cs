using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata.Builders;
namespace ArmoFlow.Persistence.Work;

/// <summary>
/// A slice of work that a worker has in hand. It renews it while it works; one that stands still is lost, and asked for again.
/// Written for work that lasts longer than a second.
/// </summary>
public sealed class WorkLease
{
    public Guid RunId { get; set; }
    public string Step { get; set; } = "";

    /// <summary>Tells the shards of one step apart; 0 for a step that is not cut.</summary>
    public int Slot { get; set; }
    public int Attempt { get; set; }
    public Guid Worker { get; set; }
    public DateTimeOffset TakenAt { get; set; }

    /// <summary>Grows while the worker lives: who watches it needs no clock in common.</summary>
    public long Renewals { get; set; }
}

/// <summary>A process that serves steps.</summary>
public sealed class WorkerRow
{
    public Guid Id { get; set; }
    public string Machine { get; set; } = "";
    public int ProcessId { get; set; }
    public string Version { get; set; } = "";

    /// <summary>Names of the steps, separated by commas.</summary>
    public string Steps { get; set; } = "";
    public string Device { get; set; } = "";
    public long MemoryBytes { get; set; }
    public string Current { get; set; } = "";

    /// <summary>Names of the steps whose queues have given it nothing for a while, separated by commas: no message waits in them.</summary>
    public string IdleSteps { get; set; } = "";
    public DateTimeOffset StartedAt { get; set; }
    public DateTimeOffset SeenAt { get; set; }
    public long Beats { get; set; }

    public bool Serves(string step) => Steps.Split(',').Contains(step);

    /// <summary>True where a message that asks for the step would have been taken by now.</summary>
    public bool IsIdleFor(string step) => IdleSteps.Split(',').Contains(step);
}

/// <summary>A feature step that is cut into shards; the one who completes the last finishes the step.</summary>
public sealed class ShardedStep
{
    public string Key { get; set; } = "";

    /// <summary>Names the files of the plan that counts; a shard of another plan is none of this step's.</summary>
    public string Plan { get; set; } = "";
    public int Shards { get; set; }
    public int Done { get; set; }

    /// <summary>Conversations in the shards that are done.</summary>
    public int Items { get; set; }
}

public sealed class FinishedShard
{
    public string Key { get; set; } = "";
    public int Shard { get; set; }
}

internal sealed class WorkLeaseConfiguration : IEntityTypeConfiguration<WorkLease>
{
    public void Configure(EntityTypeBuilder<WorkLease> lease)
    {
        lease.HasKey(l => new { l.RunId, l.Step, l.Slot });
        lease.HasIndex(l => l.Worker);
    }
}

internal sealed class ShardedStepConfiguration : IEntityTypeConfiguration<ShardedStep>
{
    public void Configure(EntityTypeBuilder<ShardedStep> row) => row.HasKey(s => s.Key);
}

internal sealed class FinishedShardConfiguration : IEntityTypeConfiguration<FinishedShard>
{
    public void Configure(EntityTypeBuilder<FinishedShard> row) => row.HasKey(s => new { s.Key, s.Shard });
}
