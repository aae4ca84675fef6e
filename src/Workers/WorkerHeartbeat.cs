using System.Diagnostics;
using System.Reflection;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Work;
using ArmoFlow.RewardModel.Features;
using MassTransit;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Workers;

/// <summary>This process as a worker: the steps that it serves, and the id under which the database knows it.</summary>
public sealed record ThisWorker(IReadOnlyCollection<string> Steps)
{
    public Guid Id { get; } = Guid.NewGuid();

    public string Version { get; } =
        typeof(ThisWorker).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "";
}

/// <summary>
/// Announces this process in the database, holds leases for work that lasts longer than a second, and renews them as long as it
/// lives. When the process is asked to end, its work goes back to the queues at once.
/// </summary>
public sealed class WorkerHeartbeat(
    WorkStore store,
    ScratchSpace scratch,
    RunningWork running,
    LogKeeper logs,
    ThisWorker self,
    TimeProvider time,
    ILogger<WorkerHeartbeat> log,
    IHostApplicationLifetime? lifetime = null,
    IBusControl? bus = null) : PeriodicService("heartbeat", Tick, FirstRound.AtOnce, log)
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1), BeatInterval = TimeSpan.FromSeconds(10),
        LeaveLimit = TimeSpan.FromSeconds(5), LogLimit = TimeSpan.FromSeconds(4), IdleAfter = TimeSpan.FromSeconds(15);
    private static readonly long RoundsBetweenBeats = (long)(BeatInterval / Tick);
    private readonly Dictionary<WorkInHand, WorkLease> _leases = new(ReferenceEqualityComparer.Instance);
    private CancellationTokenRegistration? _ending;
    private long _rounds;
    private readonly WorkerRow _worker = new()
    {
        Id = self.Id,
        Machine = Environment.MachineName,
        ProcessId = Environment.ProcessId,
        Version = self.Version,
        Steps = string.Join(',', self.Steps),
        Device = ComputeType.Hardware,
        MemoryBytes = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes,
        StartedAt = time.GetUtcNow(),
        SeenAt = time.GetUtcNow(),
    };

    /// <inheritdoc/>
    public override Task StartAsync(CancellationToken cancellationToken)
    {
        // Before the bus stops, which waits for the work in hand.
        _ending = lifetime?.ApplicationStopping.Register(running.HandBack);
        return base.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task Round(CancellationToken cancel)
    {
        if (_rounds == 1) await ClearScratch(cancel);
        if (_rounds++ % RoundsBetweenBeats == 0) await store.Beat(_worker, InHand(), IdleSteps(), cancel);
        await logs.EnterGrown(Tick / 2, cancel); // before its lease: work that can be lost has a log
        await ExchangeLeases(cancel);
        long start = Stopwatch.GetTimestamp();
        while (await logs.EnterEnded(cancel) && Stopwatch.GetElapsedTime(start) < LogLimit) { }
    }

    /// <inheritdoc/>
    protected override async Task End()
    {
        if (_ending is { } ending) await ending.DisposeAsync();
        await Leave();
    }

    /// <summary>What workers that are no more left half-written.</summary>
    private async Task ClearScratch(CancellationToken cancel) =>
        scratch.RemoveAbandoned((await store.Workers(cancel)).Select(w => w.Id).ToHashSet());

    private string InHand() => string.Join(", ", running.InHand.Select(w => $"{w.Step} of {w.RunId}"));

    /// <summary>A process that does not hear the broker is not idle, though nothing comes.</summary>
    private string IdleSteps() =>
        bus is not null && bus.CheckHealth().Status != BusHealthStatus.Healthy ? "" : string.Join(',', running.IdleFor(IdleAfter));

    private async Task ExchangeLeases(CancellationToken cancel)
    {
        HashSet<WorkInHand> now = new(running.InHand.Where(w => w.Age >= Tick), ReferenceEqualityComparer.Instance);
        WorkInHand[] ended = [.. _leases.Keys.Where(w => !now.Contains(w))], begun = [.. now.Where(w => !_leases.ContainsKey(w))];
        if (ended.Length + begun.Length == 0) return;
        WorkLease[] leases = [.. begun.Select(w => new WorkLease
        {
            RunId = w.RunId,
            Step = w.Step,
            Slot = w.Slot,
            Attempt = w.Attempt,
            Worker = _worker.Id,
            TakenAt = time.GetUtcNow()
        })];
        await store.Exchange(leases, [.. ended.Select(w => _leases[w])], cancel);
        foreach (WorkInHand work in ended) _leases.Remove(work);
        foreach ((WorkInHand work, WorkLease lease) in begun.Zip(leases)) _leases[work] = lease;
    }

    private async Task Leave()
    {
        using CancellationTokenSource limit = new(LeaveLimit);
        try
        {
            while (await logs.EnterEnded(limit.Token)) { }
            await store.Leave(_worker.Id, limit.Token);
        }
        catch (Exception e) { log.LogWarning("leaving: {Message}", e.Message); }
    }
}
