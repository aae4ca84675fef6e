using ArmoFlow.Contracts.Runs;
using ArmoFlow.Orchestrator.Alerts;
using ArmoFlow.Orchestrator.Schedules;
using MassTransit;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>
/// A run has ended: what waited for it may begin, and an evaluation, or a version that a rule may promote, is held against its
/// gates.
/// </summary>
public sealed class EndedRunsConsumer(ScheduleRunner schedules, JudgeSignal judging) : IConsumer<RunEnded>
{
    public async Task Consume(ConsumeContext<RunEnded> context)
    {
        if (context.Message.IsEvaluation || context.Message.AwaitsRule) judging.Raise();
        await schedules.Release(context.Message.RunId, context.CancellationToken);
    }
}

/// <summary>Heard twice it does nothing: it needs no inbox; but it must not be lost, so the queue stays.</summary>
public sealed class EndedRunsDefinition : ConsumerDefinition<EndedRunsConsumer>
{
    public EndedRunsDefinition() => EndpointName = "schedules";
}
