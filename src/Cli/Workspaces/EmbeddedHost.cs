using ArmoFlow.Orchestrator;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Workers;
using MassTransit;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Serilog;
using Serilog.Events;

namespace ArmoFlow.Cli.Workspaces;

/// <summary>Orchestrator and workers in this process: in-memory transport, SQLite, a local folder.</summary>
internal sealed class EmbeddedHost : IAsyncDisposable
{
    private readonly IHost _host;
    private readonly Workspace _workspace;

    public IServiceProvider Services => _host.Services;

    private EmbeddedHost(IHost host, Workspace workspace)
    {
        _host = host;
        _workspace = workspace;
    }

    /// <summary>Takes the workspace and starts everything; null where another process has it.</summary>
    public static async Task<EmbeddedHost?> TryStart(string folder, CancellationToken cancel)
    {
        Workspace workspace = new(folder);
        if (!await workspace.TakeLock(cancel)) return null;
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        Configure(builder.Services, builder.Logging, workspace);
        IHost host = builder.Build();
        await host.Services.GetRequiredService<DatabaseSchema>().PrepareWorkspace(cancel);
        Caller.Current = Caller.System; // what the host does by itself is nobody's asking
        await host.StartAsync(cancel);
        return new EmbeddedHost(host, workspace);
    }

    /// <summary>As <see cref="TryStart"/>, but another process's hold is the user's error.</summary>
    public static async Task<EmbeddedHost> Start(string folder, CancellationToken cancel) => await TryStart(folder, cancel)
        ?? throw new UsageException($"workspace {Path.GetFullPath(folder)} is in use by another process. Wait for it, talk to it with "
            + "--server if it serves, or use another --workspace.");

    public static void Configure(IServiceCollection services, ILoggingBuilder logging, Workspace workspace)
    {
        logging.ClearProviders();
        LoggerConfiguration log = new LoggerConfiguration()
            .MinimumLevel.Information()
            .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
            // What it calls an error is tried again, or logged by whoever asked for it.
            .MinimumLevel.Override("Microsoft.EntityFrameworkCore", LogEventLevel.Fatal)
            .WriteTo.File(Path.Combine(workspace.Folder, "armoflow.log"),
                formatProvider: System.Globalization.CultureInfo.InvariantCulture,
                fileSizeLimitBytes: 10 << 20, rollOnFileSizeLimit: true, retainedFileCountLimit: 3, shared: true);
        logging.AddSerilog(log.CreateLogger(), dispose: true);
        services.AddEmbeddedPersistence(workspace).AddWorkers().AddOrchestrator().AddHostedService<ControlPump>();
        // what is published before the queues exist is dropped
        services.AddOptions<MassTransitHostOptions>().Configure(o => o.WaitUntilStarted = true);
        services.AddMassTransit(bus =>
        {
            bus.DisableUsageTelemetry();
            bus.UseConsumerOutbox();
            bus.AddStepConsumers();
            bus.AddRunSaga();
            bus.UsingInMemory((context, transport) => transport.ConfigureEndpoints(context));
        });
    }

    /// <summary>Makes a workspace's database where there is none.</summary>
    public static async Task Make(string folder, CancellationToken cancel)
    {
        using Workspace workspace = new(folder);
        if (File.Exists(workspace.Database) || !await workspace.TakeLock(cancel)) return;
        await using ServiceProvider services =
            new ServiceCollection().AddLogging().AddEmbeddedPersistence(workspace).BuildServiceProvider();
        await services.GetRequiredService<DatabaseSchema>().PrepareWorkspace(cancel);
    }

    /// <summary>The database of a workspace for reading, whoever holds it; those of an older version are brought up to date.</summary>
    /// <exception cref="UsageException">There is no workspace, or it is of another version and cannot be brought to this one.</exception>
    public static async Task<ServiceProvider> OpenDatabase(string folder)
    {
        Workspace workspace = new(folder);
        if (!File.Exists(workspace.Database))
            throw new UsageException($"no workspace at {workspace.Folder}. Give --workspace, or start with: armoflow run SPEC.yaml.");
        string connection = WorkspaceDatabase.ReadingConnection(workspace);
        ServiceProvider services = new ServiceCollection().AddLogging()
            .AddEmbeddedPersistence(workspace, connection).AddSingleton(workspace).AddRunQueries().BuildServiceProvider();
        DatabaseSchema schema = services.GetRequiredService<DatabaseSchema>();
        SchemaAge age = await schema.Age(CancellationToken.None);
        if (age == SchemaAge.Current) return services;
        if (age == SchemaAge.Newer)
            throw new UsageException($"workspace {workspace.Folder} was made by a newer armoflow. Use that one, or another --workspace.");
        if (connection != WorkspaceDatabase.Connection(workspace))
        {
            throw new UsageException(
                $"workspace {workspace.Folder} is of an older armoflow and can only be read here, so it cannot be brought up to date. "
                    + "Make its folder writable for this user, or free some space.");
        }
        using (workspace)
        {
            if (!await workspace.TakeLock(CancellationToken.None))
            {
                throw new UsageException(age == SchemaAge.Empty
                ? $"workspace {workspace.Folder} is being made by another process. Ask again in a moment."
                : $"workspace {workspace.Folder} is of an older armoflow, and in use by another process. "
                    + "End that one first, then ask again: the workspace is brought up to date.");
            }
            await schema.MigrateWorkspace(CancellationToken.None);
        }
        return services;
    }

    public async ValueTask DisposeAsync()
    {
        await _host.StopAsync();
        if (_host is IAsyncDisposable host) await host.DisposeAsync();
        WorkspaceDatabase.CloseAll();
        _workspace.Dispose();
    }
}
