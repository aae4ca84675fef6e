using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Workers.Features;
using ArmoFlow.Workers.Gating;
using ArmoFlow.Workers.Scoring;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Workers;

public static class WorkersRegistration
{
    /// <summary>What a worker can serve: the steps, and scoring on request.</summary>
    public static readonly IReadOnlyList<string> Roles = [.. StepCatalogue.Names, ScoreResponses.Queue];

    public static IServiceCollection AddWorkers(this IServiceCollection services, IReadOnlyCollection<string>? steps = null) => services
        .AddSingleton(new ThisWorker(steps ?? Roles))
        .AddSingleton<RunningWork>()
        .AddSingleton<StepServices>()
        .AddSingleton<ExtractorCache>()
        .AddSingleton<TrainerCache>()
        .AddSingleton<ServedModels>()
        .AddSingleton<LogKeeper>()
        .AddHostedService<WorkerHeartbeat>();

    /// <summary>The consumers of some steps, or of all.</summary>
    public static void AddStepConsumers(this IBusRegistrationConfigurator bus, IReadOnlyCollection<string>? steps = null)
    {
        foreach (Step step in StepCatalogue.All.Where(s => IsServed(s.Name)))
        {
            Type consumer = ConsumerOf(step);
            bus.AddConsumer(consumer, typeof(StepEndpoint<>).MakeGenericType(consumer));
        }
        if (IsServed(StepNames.Features)) bus.AddConsumer<ShardConsumer, ShardConsumerDefinition>();
        if (IsServed(ScoreResponses.Queue)) bus.AddConsumer<ScoreConsumer, ScoreConsumerDefinition>();
        bus.AddConsumer<StopWorkConsumer, StopWorkConsumerDefinition>();

        bool IsServed(string role) => steps is null || steps.Contains(role);
    }

    /// <summary>The consumer that does a step's work: the one of this room that takes its command and gives its event.</summary>
    /// <exception cref="InvalidOperationException">There is none, or more than one.</exception>
    public static Type ConsumerOf(Step step)
    {
        Type glue = typeof(StepConsumer<,>).MakeGenericType(step.Command, step.Completed);
        Type[] found = [.. typeof(WorkersRegistration).Assembly.GetExportedTypes().Where(t => t.BaseType == glue)];
        return found.Length == 1
            ? found[0]
            : throw new InvalidOperationException($"step '{step.Name}' has {found.Length} consumers; expected one class {glue.Name}");
    }
}

/// <summary>The endpoint of a step's consumer: the queue of the step whose command it takes.</summary>
public sealed class StepEndpoint<TConsumer>() : StepConsumerDefinition<TConsumer>(QueueOf(typeof(TConsumer)))
    where TConsumer : class, IConsumer
{
    private static string QueueOf(Type consumer) =>
        StepCatalogue.All.Single(s => s.Command == consumer.BaseType!.GenericTypeArguments[0]).Name;
}
