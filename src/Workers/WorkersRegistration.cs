using ArmoFlow.Workers.Decorrelation;
using ArmoFlow.Workers.Evaluation;
using ArmoFlow.Workers.Features;
using ArmoFlow.Workers.Gating;
using ArmoFlow.Workers.Ingestion;
using ArmoFlow.Workers.Regression;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Workers;

public static class WorkersRegistration
{
    public static IServiceCollection AddWorkers(this IServiceCollection services) => services
        .AddSingleton<RunningWork>().AddSingleton<StepServices>().AddSingleton<ExtractorCache>().AddSingleton<TrainerCache>();

    public static void AddStepConsumers(this IBusRegistrationConfigurator bus)
    {
        bus.AddConsumer<IngestionConsumer, IngestionConsumerDefinition>();
        bus.AddConsumer<FeaturesConsumer, FeaturesConsumerDefinition>();
        bus.AddConsumer<RegressionConsumer, RegressionConsumerDefinition>();
        bus.AddConsumer<DecorrelationConsumer, DecorrelationConsumerDefinition>();
        bus.AddConsumer<GatingConsumer, GatingConsumerDefinition>();
        bus.AddConsumer<EvaluationConsumer, EvaluationConsumerDefinition>();
        bus.AddConsumer<StopWorkConsumer>();
    }
}
