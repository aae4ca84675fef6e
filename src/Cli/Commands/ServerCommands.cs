using System.CommandLine;
using ArmoFlow.Orchestrator;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Orchestrator.Api;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Workers;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Cli.Commands;

/// <summary>Orchestrator and worker as processes of their own, on RabbitMQ and Postgres.</summary>
internal static class ServerCommands
{
    public static Command Orchestrator()
    {
        Option<string?> rabbit = ServerSettings.RabbitMqOption(), postgres = ServerSettings.PostgresOption(),
            artifacts = ServerSettings.ArtifactsOption();
        Option<string> urls =
            new("--urls") { Description = "Where the HTTP API listens.", DefaultValueFactory = _ => "http://localhost:5080" };
        Option<int> wait = ServerSettings.WaitOption();
        Option<bool> requireKeys = ServerHost.RequireKeysOption();
        Command command = new("orchestrator", "The run saga and the HTTP API, on RabbitMQ and Postgres.") { rabbit, postgres, artifacts,
            urls, requireKeys, wait };
        command.SetAction(async (parsed, cancel) =>
        {
            ServerSettings settings = new(ServerSettings.Require(parsed, rabbit), ServerSettings.Require(parsed, postgres),
                ServerSettings.Require(parsed, artifacts), TimeSpan.FromSeconds(parsed.GetValue(wait)));
            WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
            builder.WebHost.UseKestrelCore().UseUrls(parsed.GetRequiredValue(urls).Split(';'));
            ServerHost.Configure(builder.Services, builder.Logging, settings, bus => bus.AddRunSaga());
            AccessPolicy policy = ServerHost.PolicyOf(parsed.GetRequiredValue(urls), parsed.GetValue(requireKeys));
            builder.Services.AddOrchestrator().AddHostedService(s =>
                new QueueDepths(ServerHost.Address(settings.RabbitMq), s.GetRequiredService<ILogger<QueueDepths>>()))
                .AddHostedService(s => new ErrorQueues(ServerHost.Address(settings.RabbitMq), s.GetRequiredService<FaultKeeper>(),
                    s.GetRequiredService<ILogger<ErrorQueues>>()))
                .AddTelemetry("orchestrator", isScraped: true).AddSchedules(settings.Postgres).AddAccess(policy).AddRunsApi();
            await using WebApplication app = builder.Build();
            await ServerHost.RequireServers(app.Services, settings, cancel);
            app.MapRunsApi();
            await ServerHost.RequireKey(app.Services, policy, cancel);
            Caller.Current = Caller.System; // what servers do by themselves is nobody's asking
            await app.StartAsync(cancel);
            Console.Error.WriteLine($"orchestrator on {string.Join(", ", app.Urls)}; API: {app.Urls.First()}/openapi/v1.json");
            await UntilStopped(cancel);
            await app.StopAsync(CancellationToken.None);
            return ExitCodes.Done;
        });
        return command;
    }

    public static Command Worker()
    {
        Option<string?> rabbit = ServerSettings.RabbitMqOption(), postgres = ServerSettings.PostgresOption(),
            artifacts = ServerSettings.ArtifactsOption();
        Option<string[]> steps = new("--steps")
        {
            Description = $"Only these steps, separated by commas: {string.Join(", ", WorkersRegistration.Roles)}.",
            AllowMultipleArgumentsPerToken = true
        };
        Option<int> wait = ServerSettings.WaitOption();
        Command command = new("worker", "Works on steps, on RabbitMQ and Postgres.") { rabbit, postgres, artifacts, steps, wait };
        command.SetAction(async (parsed, cancel) =>
        {
            ServerSettings settings = new(ServerSettings.Require(parsed, rabbit), ServerSettings.Require(parsed, postgres),
                ServerSettings.Require(parsed, artifacts), TimeSpan.FromSeconds(parsed.GetValue(wait)));
            string[] wanted = [.. (parsed.GetValue(steps) ?? []).SelectMany(s => s.Split(',',
                StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))];
            foreach (string step in wanted)
            {
                if (!WorkersRegistration.Roles.Contains(step))
                    throw new UsageException($"--steps {step}: not a step. There are: {string.Join(", ", WorkersRegistration.Roles)}.");
            }
            HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
            // before the bus: it leaves when the bus has stopped, and its work with it
            builder.Services.AddTelemetry("worker", isScraped: false).AddWorkers(wanted.Length > 0 ? wanted : null);
            ServerHost.Configure(builder.Services, builder.Logging, settings,
                bus => bus.AddStepConsumers(wanted.Length > 0 ? wanted : null));
            using IHost host = builder.Build();
            await ServerHost.RequireServers(host.Services, settings, cancel);
            Caller.Current = Caller.System;
            await host.StartAsync(cancel);
            Console.Error.WriteLine($"worker for {(wanted.Length > 0 ? string.Join(", ", wanted) : "all steps")}");
            await UntilStopped(cancel);
            await host.StopAsync(CancellationToken.None);
            return ExitCodes.Done;
        });
        return command;
    }

    private static async Task UntilStopped(CancellationToken cancel)
    {
        try { await Task.Delay(Timeout.Infinite, cancel); }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested) { Console.Error.WriteLine("stopping"); }
    }
}
