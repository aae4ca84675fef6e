using System.Collections.Concurrent;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Outbox;
using MassTransit;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>The latest progress of each run's current step.</summary>
public sealed class ProgressBoard
{
    private readonly ConcurrentDictionary<Guid, StepProgressed> _latest = new();

    public StepProgressed? Of(Guid run) => _latest.GetValueOrDefault(run);
    public void Put(StepProgressed progress) => _latest[progress.RunId] = progress;
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
        EndpointName = $"{ConsumerOutboxRegistration.BroadcastPrefix}progress-{NewId.NextGuid():N}";
        Endpoint(endpoint => endpoint.Temporary = true);
    }
}
