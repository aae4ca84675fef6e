using System.CommandLine;
using ArmoFlow.Persistence;
using MassTransit;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace ArmoFlow.Cli;

/// <summary>Where the servers are: from flags, or from ARMOFLOW_RABBITMQ, ARMOFLOW_POSTGRES and ARMOFLOW_ARTIFACTS.</summary>
internal sealed record ServerSettings(string RabbitMq, string Postgres, string Artifacts, TimeSpan Wait)
{
    public static Option<string?> RabbitMqOption() => FromEnvironment("--rabbitmq", "ARMOFLOW_RABBITMQ", "amqp://user:password@host:port/vhost");
    public static Option<string?> PostgresOption() => FromEnvironment("--postgres", "ARMOFLOW_POSTGRES", "Npgsql connection string");
    public static Option<string?> ArtifactsOption() => FromEnvironment("--artifacts", "ARMOFLOW_ARTIFACTS", "a folder that all machines share");
    public static Option<int> WaitOption() => new("--wait") { Description = "Seconds to wait for servers that are still starting.", DefaultValueFactory = _ => 60 };

    public static string Require(ParseResult parsed, Option<string?> option) => parsed.GetValue(option) is { Length: > 0 } value ? value
        : throw new UsageException($"{option.Name} is missing: expected {option.Description}. Give it, or start private servers with: armoflow dev up.");

    private static Option<string?> FromEnvironment(string name, string variable, string form) => new(name)
    {
        Description = $"{form} (default: ${variable})",
        DefaultValueFactory = _ => Environment.GetEnvironmentVariable(variable),
    };
}

/// <summary>The parts on RabbitMQ and Postgres.</summary>
internal static class ServerHost
{
    public static void Configure(IServiceCollection services, ILoggingBuilder logging, ServerSettings settings, Action<IBusRegistrationConfigurator> consumers)
    {
        logging.ClearProviders();
        logging.AddFilter("Microsoft", LogLevel.Warning).AddFilter("MassTransit", LogLevel.Warning).AddFilter("Microsoft.Extensions.Hosting", LogLevel.None).AddFilter("Microsoft.EntityFrameworkCore", LogLevel.None);
        logging.AddSimpleConsole(console => console.SingleLine = true);
        services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
        Uri rabbitMq = Address(settings.RabbitMq);
        services.AddServerPersistence(settings.Postgres, settings.Artifacts);
        services.AddOptions<MassTransitHostOptions>().Configure(o => (o.WaitUntilStarted, o.StartTimeout, o.StopTimeout) = (true, settings.Wait, TimeSpan.FromSeconds(30)));
        services.AddMassTransit(bus =>
        {
            bus.DisableUsageTelemetry();
            consumers(bus);
            bus.UsingRabbitMq((context, transport) =>
            {
                transport.Host(rabbitMq);
                transport.ConfigureEndpoints(context);
            });
        });
    }

    /// <summary>Waits for the database, and refuses one whose schema is not up to date.</summary>
    /// <exception cref="UsageException">The schema is behind, or the password is wrong.</exception>
    public static async Task RequireSchema(IServiceProvider services, TimeSpan wait, CancellationToken cancel)
    {
        DateTime end = DateTime.UtcNow + wait;
        while (true)
        {
            try
            {
                await using ArmoFlowDbContext db = await services.GetRequiredService<IDbContextFactory<ArmoFlowDbContext>>().CreateDbContextAsync(cancel);
                await db.Database.OpenConnectionAsync(cancel);
                if ((await db.Database.GetPendingMigrationsAsync(cancel)).Any()) throw new UsageException("Postgres: the schema is not up to date. Run: armoflow db migrate.");
                return;
            }
            catch (Exception e) when (IsStillStarting(e) && DateTime.UtcNow < end)
            {
                Console.Error.WriteLine($"waiting for Postgres: {e.Message}");
                await Task.Delay(TimeSpan.FromSeconds(1), cancel);
            }
        }
    }

    /// <summary>EF wraps what Npgsql says; a wrong password or database will not mend itself.</summary>
    private static bool IsStillStarting(Exception e) => (e as NpgsqlException ?? e.InnerException) is NpgsqlException cause
        and not PostgresException { SqlState: PostgresErrorCodes.InvalidPassword or PostgresErrorCodes.InvalidAuthorizationSpecification or PostgresErrorCodes.InvalidCatalogName };

    private static Uri Address(string text) => Uri.TryCreate(text, UriKind.Absolute, out Uri? address) && address.Scheme is "amqp" or "amqps" or "rabbitmq" ? address
        : throw new UsageException($"--rabbitmq {text}: not an address; expected amqp://user:password@host:port/vhost. Correct it.");
}
