using System.Collections.Concurrent;
using System.Diagnostics;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Outbox;
using MassTransit;

namespace ArmoFlow.Workers;

/// <summary>A slice of work that this process has in hand.</summary>
/// <param name="RunId">Its run.</param>
/// <param name="Step">Its step.</param>
/// <param name="Slot">Its shard, or 0.</param>
/// <param name="Attempt">The asking that it answers.</param>
/// <param name="Stop">Cancelled when the run is stopped or the process ends.</param>
/// <param name="Log">What is written down of it.</param>
public sealed record WorkInHand(Guid RunId, string Step, int Slot, int Attempt, CancellationTokenSource Stop, WorkLog Log)
{
    private readonly long _since = Stopwatch.GetTimestamp();

    public TimeSpan Age => Stopwatch.GetElapsedTime(_since);
}

/// <summary>The work in progress in this process, so that a cancelled run's can be stopped at once.</summary>
public sealed class RunningWork(ThisWorker worker, TimeProvider time)
{
    private readonly ConcurrentDictionary<WorkInHand, byte> _work = new(ReferenceEqualityComparer.Instance);
    private readonly ConcurrentQueue<WorkLog> _ended = [];
    private readonly ConcurrentDictionary<string, long> _lastActive =
        new(worker.Steps.Select(s => KeyValuePair.Create(s, Stopwatch.GetTimestamp())));

    public IEnumerable<WorkInHand> InHand => _work.Keys;

    /// <summary>True once the process is ending: work in hand goes back to its queue, for another worker.</summary>
    public bool IsEnding { get; private set; }

    public WorkInHand Begin(Guid run, string step, int slot, int attempt, CancellationToken outer)
    {
        WorkInHand work = new(run, step, slot, attempt, CancellationTokenSource.CreateLinkedTokenSource(outer),
            new WorkLog(run, step, slot, attempt, worker.Id, time));
        _work.TryAdd(work, 0);
        _lastActive[step] = Stopwatch.GetTimestamp();
        if (IsEnding) work.Stop.Cancel();
        return work;
    }

    public void End(WorkInHand work)
    {
        _ended.Enqueue(work.Log);
        _lastActive[work.Step] = Stopwatch.GetTimestamp();
        _work.TryRemove(work, out _);
        work.Stop.Dispose();
    }

    /// <summary>The steps that this process serves, and for which no message has come for a while.</summary>
    public IReadOnlyList<string> IdleFor(TimeSpan time)
    {
        HashSet<string> busy = [.. InHand.Select(w => w.Step)];
        return [.. _lastActive.Where(s => !busy.Contains(s.Key) && Stopwatch.GetElapsedTime(s.Value) >= time).Select(s => s.Key)];
    }

    /// <summary>The logs of work that ended since they were last taken.</summary>
    public List<WorkLog> TakeEnded(int most)
    {
        List<WorkLog> taken = [];
        while (taken.Count < most && _ended.TryDequeue(out WorkLog? log)) taken.Add(log);
        return taken;
    }

    public void PutBack(IEnumerable<WorkLog> ended)
    {
        foreach (WorkLog log in ended) _ended.Enqueue(log);
    }

    public void Stop(Guid run) => Stop(w => w.RunId == run);

    public void HandBack()
    {
        IsEnding = true;
        Stop(_ => true);
    }

    private void Stop(Func<WorkInHand, bool> which)
    {
        foreach (WorkInHand work in _work.Keys.Where(which))
        {
            try { work.Stop.Cancel(); }
            catch (ObjectDisposedException) { } // it ended just now
        }
    }
}

public sealed class StopWorkConsumer(RunningWork running) : IConsumer<StopWork>
{
    public Task Consume(ConsumeContext<StopWork> context)
    {
        running.Stop(context.Message.RunId);
        return Task.CompletedTask;
    }
}

/// <summary>Every process has a queue of its own, so that all of them hear it.</summary>
public sealed class StopWorkConsumerDefinition : ConsumerDefinition<StopWorkConsumer>
{
    public StopWorkConsumerDefinition()
    {
        EndpointName = Broadcasts.QueueOf(Broadcasts.StopWork);
        Endpoint(endpoint => endpoint.Temporary = true);
    }
}
