using System.Collections.Concurrent;
using ArmoFlow.Contracts.Runs;
using MassTransit;

namespace ArmoFlow.Workers;

/// <summary>The work in progress in this process, so that a cancelled run's can be stopped at once.</summary>
public sealed class RunningWork
{
    private readonly ConcurrentDictionary<Guid, ConcurrentDictionary<CancellationTokenSource, byte>> _byRun = new();

    /// <summary>A token that is cancelled when the run is stopped or the process ends.</summary>
    public CancellationTokenSource Begin(Guid run, CancellationToken outer)
    {
        CancellationTokenSource source = CancellationTokenSource.CreateLinkedTokenSource(outer);
        _byRun.GetOrAdd(run, _ => new()).TryAdd(source, 0);
        return source;
    }

    public void End(Guid run, CancellationTokenSource source)
    {
        if (_byRun.TryGetValue(run, out ConcurrentDictionary<CancellationTokenSource, byte>? work)) work.TryRemove(source, out _);
        source.Dispose();
    }

    public void Stop(Guid run)
    {
        if (!_byRun.TryGetValue(run, out ConcurrentDictionary<CancellationTokenSource, byte>? work)) return;
        foreach (CancellationTokenSource source in work.Keys) source.Cancel();
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
    public StopWorkConsumerDefinition() => Endpoint(endpoint =>
    {
        endpoint.InstanceId = $"-{NewId.NextGuid():N}";
        endpoint.Temporary = true;
    });
}
