using ArmoFlow.Persistence;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace ArmoFlow.Orchestrator;

/// <summary>
/// Metrics and traces, by OpenTelemetry: scraped at /metrics, and sent by OTLP where OTEL_EXPORTER_OTLP_ENDPOINT says so.
/// </summary>
public static class Telemetry
{
    private static bool Sends => Environment.GetEnvironmentVariable("OTEL_EXPORTER_OTLP_ENDPOINT") is { Length: > 0 };

    /// <param name="services">The process's.</param>
    /// <param name="role">orchestrator, worker or serve.</param>
    /// <param name="isScraped">True where the process answers /metrics.</param>
    public static IServiceCollection AddTelemetry(this IServiceCollection services, string role, bool isScraped)
    {
        if (!isScraped && !Sends) return services; // nobody would ever see it
        services.AddOpenTelemetry()
            .ConfigureResource(resource => resource.AddService($"armoflow-{role}",
                serviceInstanceId: $"{Environment.MachineName}-{Environment.ProcessId}"))
                .WithMetrics(metrics =>
                {
                    metrics.AddMeter(Instruments.MeterName, "MassTransit", "Microsoft.AspNetCore.Hosting",
                        "Microsoft.AspNetCore.Server.Kestrel", "System.Runtime");
                    if (isScraped) metrics.AddPrometheusExporter();
                    if (Sends) metrics.AddOtlpExporter();
                })
                .WithTracing(traces =>
                {
                    if (!Sends) return;
                    traces.AddAspNetCoreInstrumentation().AddSource("MassTransit", Instruments.MeterName).AddOtlpExporter();
                });
        return services;
    }
}
