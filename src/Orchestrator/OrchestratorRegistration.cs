using ArmoFlow.Orchestrator.Alerts;
using ArmoFlow.Orchestrator.Clients;
using ArmoFlow.Orchestrator.Datasets;
using ArmoFlow.Orchestrator.Models;
using ArmoFlow.Orchestrator.Retention;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Orchestrator.Sagas;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Orchestrator.Scoring;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Runs;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Orchestrator;

public static class OrchestratorRegistration
{
    public static IServiceCollection AddOrchestrator(this IServiceCollection services) => services
        .AddRunQueries()
        .AddSingleton<RecordsClient>()
        .AddSingleton<RunService>()
        .AddSingleton<ForgetService>()
        .AddSingleton<ScoreBatcher>()
        .AddSingleton<ScoreService>()
        .AddSingleton<ScoreRequests>()
        .AddSingleton<ScheduleRunner>()
        .AddSingleton<PolicyRunner>()
        .AddHostedService<PolicyEngine>()
        .AddHostedService<CollectionEngine>()
        .AddHostedService<OutboxDelivery>()
            .AddSingleton<JudgeSignal>().AddHostedService<Judging>()
            .AddSingleton<AlertSignal>().AddSingleton(WebhookOptions.FromEnvironment()).AddHostedService<AlertDelivery>()
            .AddSingleton(LeaseLimits.Default).AddHostedService<LeaseSweeper>();

    /// <summary>Reading alone, for commands that start no bus.</summary>
    public static IServiceCollection AddRunQueries(this IServiceCollection services) =>
        services.AddSingleton<ProgressBoard>()
            .AddSingleton<RunWatch>()
            .AddSingleton<ModelService>()
            .AddSingleton<RunVerdicts>()
            .AddSingleton<EvaluationJudge>()
            .AddSingleton<PromotionRules>()
            .AddSingleton<EvidencePack>()
            .AddSingleton<ScheduleService>()
            .AddSingleton<PolicyService>()
            .AddSingleton<RetentionPolicyService>()
            .AddSingleton<DatasetWatcher>();

    public static void AddRunSaga(this IBusRegistrationConfigurator bus)
    {
        bus.AddSagaStateMachine<RunSaga, RunState, RunSagaDefinition>().StoredInDatabase();
        bus.AddConsumer<ProgressConsumer, ProgressConsumerDefinition>();
        bus.AddConsumer<DatasetArrivedConsumer, DatasetArrivedDefinition>();
        if (OpenLineageClient.Configured is { } address)
        {
            bus.AddSingleton(new OpenLineageClient(address));
            bus.AddConsumer<OpenLineageConsumer, OpenLineageDefinition>();
        }
        bus.AddConsumer<EndedRunsConsumer, EndedRunsDefinition>();
    }
}
