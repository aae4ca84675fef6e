using System.Reflection;
using MassTransit;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>
/// What is logged while a message of a run is dealt with carries the run's id, the queue, which names the step, and the message's
/// kind.
/// </summary>
public sealed class LogScopeFilter<T>(ILogger<LogScopeFilter<T>> log) : IFilter<ConsumeContext<T>>
    where T : class
{
    private static readonly PropertyInfo? Run = typeof(T).GetProperty("RunId");

    public async Task Send(ConsumeContext<T> context, IPipe<ConsumeContext<T>> next)
    {
        if (Run is null)
        {
            await next.Send(context);
            return;
        }
        using (log.BeginScope(new Dictionary<string, object?>
        {
            ["run"] = Run.GetValue(context.Message),
            ["queue"] = context.ReceiveContext.InputAddress.AbsolutePath.Split('/')[^1],
            ["message"] = typeof(T).Name
        }))
            await next.Send(context);
    }

    public void Probe(ProbeContext context) => context.CreateFilterScope("log scope");
}
