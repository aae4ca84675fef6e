using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Outbox;
using MassTransit;
using Microsoft.Extensions.Caching.Memory;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>The latest progress of each run's current step; of runs that have been silent for a while none.</summary>
public sealed class ProgressBoard : IDisposable
{
    private const int MostRuns = 10_000;
    private static readonly MemoryCacheEntryOptions Kept = new() { Size = 1, SlidingExpiration = TimeSpan.FromHours(1) };
    private readonly MemoryCache _latest = new(new MemoryCacheOptions { SizeLimit = MostRuns });

    public StepProgressed? Of(Guid run) => _latest.Get<StepProgressed>(run);
    public void Put(StepProgressed progress) => _latest.Set(progress.RunId, progress, Kept);
    public void Dispose() => _latest.Dispose();
}

public sealed class ProgressConsumer(ProgressBoard board) : IConsumer<StepProgressed>
{
    public Task Consume(ConsumeContext<StepProgressed> context)
    {
        board.Put(context.Message);
        return Task.CompletedTask;
    }
}

/// <summary>Every orchestrator has a queue of its own, so that each board is up to date.</summary>
public sealed class ProgressConsumerDefinition : ConsumerDefinition<ProgressConsumer>
{
    public ProgressConsumerDefinition()
    {
        EndpointName = Broadcasts.QueueOf(Broadcasts.Progress);
        Endpoint(endpoint => endpoint.Temporary = true);
    }
}
