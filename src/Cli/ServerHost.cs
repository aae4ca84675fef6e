using System.CommandLine;
using System.Globalization;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Access;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Steps;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using RabbitMQ.Client;
using RabbitMQ.Client.Exceptions;

namespace ArmoFlow.Cli;

/// <summary>The parts on RabbitMQ and Postgres.</summary>
internal static class ServerHost
{
    private static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(10), StopTimeout = TimeSpan.FromSeconds(30),
        Pause = TimeSpan.FromSeconds(1);

    public static void Configure(IServiceCollection services, ILoggingBuilder logging, ServerSettings settings,
        Action<IBusRegistrationConfigurator> consumers)
    {
        ConfigureLogging(services, logging);
        Uri rabbitMq = Address(settings.RabbitMq);
        services.AddServerPersistence(settings.Postgres, settings.Artifacts, settings.Cache);
        services.AddOptions<MassTransitHostOptions>().Configure(o =>
        {
            o.WaitUntilStarted = true;
            o.StartTimeout = settings.Wait;
            o.StopTimeout = StopTimeout;
        });
        services.AddMassTransit(bus =>
        {
            bus.DisableUsageTelemetry();
            bus.UseConsumerOutbox();
            consumers(bus);
            bus.UsingRabbitMq((context, transport) =>
            {
                transport.Host(rabbitMq, host => host.Heartbeat(Heartbeat)); // a worker that is cut off is known to be within half a minute
                Broadcasts names = new();
                transport.SendTopology.ErrorQueueNameFormatter = names;
                transport.SendTopology.DeadLetterQueueNameFormatter = names;
                transport.ConfigureEndpoints(context);
            });
        });
    }

    private static void ConfigureLogging(IServiceCollection services, ILoggingBuilder logging)
    {
        logging.ClearProviders();
        logging.AddFilter("Microsoft", LogLevel.Warning)
            .AddFilter("MassTransit", LogLevel.Warning)
            .AddFilter("Microsoft.Extensions.Hosting", LogLevel.None)
            .AddFilter("Microsoft.EntityFrameworkCore", LogLevel.None);
        if (Environment.GetEnvironmentVariable("ARMOFLOW_LOG") == "json")
        {
            logging.AddJsonConsole(console =>
            {
                console.IncludeScopes = true;
                console.UseUtcTimestamp = true;
                console.TimestampFormat = "O";
            });
        }
        else logging.AddSimpleConsole(console => console.SingleLine = true);
        services.Configure<Microsoft.Extensions.Logging.Console.ConsoleLoggerOptions>(
            console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }

    /// <summary>Waits for the servers, and refuses what waiting does not mend.</summary>
    /// <exception cref="UsageException">A password is wrong, the schema is behind or of another version, the store cannot be
    /// written.</exception>
    /// <exception cref="ServerUnavailableException">A server did not come in time.</exception>
    public static async Task RequireServers(IServiceProvider services, ServerSettings settings, CancellationToken cancel)
    {
        await RequireStore(settings, cancel);
        services.GetRequiredService<ArtifactStore>().RemoveLeftovers();
        await Until("Postgres", "--postgres or ARMOFLOW_POSTGRES", settings.Wait, () => RequireSchema(services, cancel), cancel);
        await services.GetRequiredService<AuditStore>().Adopt(cancel);
        await Until("RabbitMQ", "--rabbitmq or ARMOFLOW_RABBITMQ", settings.Wait, () => RequireBroker(settings.RabbitMq, cancel), cancel);
    }

    public static Option<bool> RequireKeysOption() => new("--require-keys")
    {
        Description =
            "Ask this machine's users for keys too: needed behind a proxy on the same machine, whose callers would pass for them.",
    };

    /// <param name="urls">Where the server listens.</param>
    /// <param name="requireKeys">True to ask for keys on loopback addresses too.</param>
    /// <exception cref="UsageException">An address is none.</exception>
    public static AccessPolicy PolicyOf(string urls, bool requireKeys)
    {
        TrustedProxies proxies = TrustedProxies.FromEnvironment();
        try { return AccessPolicy.Of(urls.Split(';')) with { AlwaysAsksForKeys = requireKeys, Proxies = proxies }; }
        catch (FormatException e)
        {
            throw new UsageException(
                $"--urls {urls}: {e.Message} Expected addresses such as http://localhost:5080, separated by semicolons.");
        }
    }

    /// <exception cref="UsageException">Keys are asked for, and nobody has one.</exception>
    public static async Task RequireKey(IServiceProvider services, AccessPolicy policy, CancellationToken cancel)
    {
        if (!policy.IsLoopbackOnly && !DataRoots.AreSet)
        {
            Console.Error.WriteLine(
                $"warning: {DataRoots.Variable} is not set: whoever may submit runs may have them read any file that this user can read");
        }
        if (!policy.NeedsKeys || await services.GetRequiredService<AccessKeyStore>().HasUsableAdmin(cancel)) return;
        string why = policy.IsLoopbackOnly ? "--require-keys: everybody is asked for a key"
            : "--urls: this address can be reached from other machines";
        string otherwise = policy.IsLoopbackOnly ? "leave --require-keys out" : "listen on localhost";
        throw new UsageException(
            $"{why}, and there is no usable key of scope Admin. Make one with: armoflow keys create NAME --scope Admin; or {otherwise}.");
    }

    /// <exception cref="UsageException">The artifact store cannot be written.</exception>
    public static async Task RequireStore(ServerSettings settings, CancellationToken cancel)
    {
        if (S3Bucket.IsAddress(settings.Artifacts))
        {
            using S3Bucket bucket = new(settings.Artifacts);
            if (await bucket.Check(cancel) is { } wrong) throw new UsageException(wrong);
            return;
        }
        string folder = Path.GetFullPath(settings.Artifacts), probe = Path.Combine(folder, $"probe-{Guid.NewGuid():N}");
        try
        {
            Directory.CreateDirectory(folder);
            await File.WriteAllTextAsync(probe, "", cancel);
            File.Delete(probe);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"--artifacts {folder}: {e.Message} Expected a folder that this user can write. Check its "
                + "permissions and free space, or give another.");
        }
    }

    /// <exception cref="UsageException">The schema is behind, or of another version.</exception>
    public static async Task RequireSchema(IServiceProvider services, CancellationToken cancel)
    {
        if (!await services.GetRequiredService<DatabaseSchema>().IsUpToDate(cancel))
            throw new UsageException("Postgres: the schema is not up to date. Run: armoflow db migrate.");
        string version =
            await services.GetRequiredService<StepStore>().Settle(Contracts.Protocol.Setting, () => Contracts.Protocol.Version, cancel);
        if (version != Contracts.Protocol.Version)
        {
            throw new UsageException($"this armoflow speaks version {Contracts.Protocol.Version} of the messages, the servers' database is "
                + $"of version {version}. Install the version that the orchestrator has, or finish its runs and upgrade it "
                + "(docs/operations.md).");
        }
    }

    /// <summary>After a migration the database speaks this version: older processes no longer start.</summary>
    /// <exception cref="UsageException">They speak a newer one already.</exception>
    public static async Task RaiseProtocol(IServiceProvider services, CancellationToken cancel)
    {
        StepStore settings = services.GetRequiredService<StepStore>();
        string version = await settings.Settle(Contracts.Protocol.Setting, () => Contracts.Protocol.Version, cancel);
        if (int.Parse(version, CultureInfo.InvariantCulture) > int.Parse(Contracts.Protocol.Version, CultureInfo.InvariantCulture))
        {
            throw new UsageException($"the servers' database is of version {version}, newer than this armoflow's "
                + $"{Contracts.Protocol.Version}. Migrate with the newest version that runs on them.");
        }
        await settings.Set(Contracts.Protocol.Setting, Contracts.Protocol.Version, cancel);
    }

    /// <exception cref="UsageException">It refuses the user.</exception>
    public static async Task RequireBroker(string address, CancellationToken cancel)
    {
        ConnectionFactory factory = new() { Uri = Address(address), RequestedConnectionTimeout = TimeSpan.FromSeconds(5) };
        try { await using IConnection connection = await factory.CreateConnectionAsync("armoflow check", cancel); }
        catch (BrokerUnreachableException e) when (e.InnerException is AuthenticationFailureException or OperationInterruptedException)
        {
            throw new UsageException(
                "RabbitMQ refuses the user, password or virtual host. Correct them in the address (--rabbitmq or ARMOFLOW_RABBITMQ).");
        }
    }

    private static async Task Until(string server, string setting, TimeSpan wait, Func<Task> works, CancellationToken cancel)
    {
        DateTime? end = null; // the wait begins once it has not answered: a first attempt may take long by itself
        while (true)
        {
            try
            {
                await works();
                return;
            }
            catch (Exception e) when (WhyAway(e) is { } why)
            {
                end ??= TimeProvider.System.GetUtcNow().UtcDateTime + wait;
                if (wait == TimeSpan.Zero || TimeProvider.System.GetUtcNow().UtcDateTime >= end)
                {
                    throw new ServerUnavailableException($"{server} does not answer: {why}. Check the address ({setting}) and that "
                        + "the server runs; --wait says how long to wait for it.");
                }
                Console.Error.WriteLine($"waiting for {server}: {why}");
                await Task.Delay(Pause, cancel);
            }
        }
    }

    /// <summary>Why a server does not answer yet; null for what will not mend itself, such as a wrong password.</summary>
    public static string? WhyAway(Exception e)
    {
        if (e is BrokerUnreachableException broker) return (broker.InnerException?.GetBaseException() ?? broker).Message.TrimEnd('.');
        return DatabaseFault.WhyAway(e);
    }

    /// <exception cref="UsageException">It is none; the error does not show it, since it holds a password.</exception>
    public static Uri Address(string text)
    {
        bool isUri = Uri.TryCreate(text, UriKind.Absolute, out Uri? address);
        if (isUri && address is { Scheme: "amqp" or "amqps", Host.Length: > 0 }) return address;
        throw new UsageException("--rabbitmq or ARMOFLOW_RABBITMQ: not an address; expected amqp://user:password@host:port/vhost, "
            + "with '/', '@' and ':' in a password as %2F, %40 and %3A. Correct it.");
    }
}
