using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Scoring;
using ArmoFlow.Workers.Decorrelation;
using ArmoFlow.Workers.Evaluation;
using ArmoFlow.Workers.Features;
using ArmoFlow.Workers.Gating;
using ArmoFlow.Workers.Ingestion;
using ArmoFlow.Workers.Regression;
using ArmoFlow.Workers.Scoring;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Workers;

public static class WorkersRegistration
{
    /// <summary>What a worker can serve: the steps, and scoring on request.</summary>
    public static readonly IReadOnlyList<string> Roles = [.. StepNames.All, ScoreResponses.Queue];

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
        Add<IngestionConsumer, IngestionConsumerDefinition>(StepNames.Ingestion);
        Add<FeaturesConsumer, FeaturesConsumerDefinition>(StepNames.Features);
        Add<ShardConsumer, ShardConsumerDefinition>(StepNames.Features);
        Add<RegressionConsumer, RegressionConsumerDefinition>(StepNames.Regression);
        Add<DecorrelationConsumer, DecorrelationConsumerDefinition>(StepNames.Decorrelation);
        Add<GatingConsumer, GatingConsumerDefinition>(StepNames.Gating);
        Add<EvaluationConsumer, EvaluationConsumerDefinition>(StepNames.Evaluation);
        Add<ScoreConsumer, ScoreConsumerDefinition>(ScoreResponses.Queue);
        bus.AddConsumer<StopWorkConsumer, StopWorkConsumerDefinition>();

        void Add<TConsumer, TDefinition>(string step)
            where TConsumer : class, IConsumer
            where TDefinition : class, IConsumerDefinition<TConsumer>
        {
            if (steps is null || steps.Contains(step)) bus.AddConsumer<TConsumer, TDefinition>();
        }
    }
}
