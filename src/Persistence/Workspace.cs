using ArmoFlow.Persistence.Access;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Faults;
using ArmoFlow.Persistence.Features;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Outbox;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Sagas;
using ArmoFlow.Persistence.Schedules;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;
using MassTransit;
using MassTransit.Configuration;
using MassTransit.Middleware;
using MassTransit.Saga;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Npgsql;

namespace ArmoFlow.Persistence;

/// <summary>The embedded default's folder: a SQLite database, artifacts, and scratch space for unfinished steps.</summary>
public sealed class Workspace(string folder) : IDisposable
{
    private const int ReserveBytes = 1 << 20, LockTries = 6;
    private static readonly TimeSpan LockPause = TimeSpan.FromMilliseconds(50);
    private FileStream? _lock;

    public string Folder { get; } = Path.GetFullPath(folder);
    public string Database => Path.Combine(Folder, "armoflow.db");
    public string Artifacts => Path.Combine(Folder, "artifacts");
    public ScratchSpace Scratch => new(Path.Combine(Folder, "scratch"), Path.Combine(Folder, "reserve"));

    /// <summary>
    /// Takes the workspace for this process; false where another one has it for longer than a look (<see cref="IsHeld"/>).
    /// </summary>
    public async Task<bool> TakeLock(CancellationToken cancel)
    {
        for (int tries = 1; tries < LockTries; tries++)
        {
            if (TryLock()) return true;
            await Task.Delay(LockPause, cancel);
        }
        return TryLock();
    }

    /// <summary>Takes the workspace for this process; false where another one has it, if only for a look.</summary>
    public bool TryLock()
    {
        if (_lock is not null) return true;
        Directory.CreateDirectory(Folder);
        try
        {
            _lock = new FileStream(LockFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException e) when (IsHeldByAnother(e))
        {
            return false;
        }
        Directory.CreateDirectory(Scratch.Folder);
        if (!File.Exists(Scratch.Reserve)) SetAside(Scratch.Reserve!);
        return true;
    }

    /// <summary>True while some process works on the workspace, this one included.</summary>
    public bool IsHeld()
    {
        if (_lock is not null) return true;
        try
        {
            using FileStream look = new(LockFile, FileMode.Open, FileAccess.Read, FileShare.Read);
            return false;
        }
        catch (IOException e) when (IsHeldByAnother(e)) { return true; }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return false; }
    }

    private string LockFile => Path.Combine(Folder, "lock");

    /// <summary>EWOULDBLOCK of Linux or macOS, or a sharing violation of Windows.</summary>
    private static bool IsHeldByAnother(IOException e) => (e.HResult & 0xffff) is 11 or 35 or 32;

    private static void SetAside(string reserve)
    {
        try { File.WriteAllBytes(reserve, new byte[ReserveBytes]); }
        catch (IOException)
        {
            File.Delete(reserve);
            throw;
        }
    }

    public void Dispose()
    {
        _lock?.Dispose();
        _lock = null;
    }
}

/// <summary>Where artifacts of a bucket are kept at hand, and how many bytes of them.</summary>
public sealed record CacheOptions(string Folder, long Bytes)
{
    /// <summary>In the user's own cache folder: in a shared one others could put bytes under a hash, or read what they may not.</summary>
    public static CacheOptions Default { get; } = new(PrivateFolder.PathOf("artifacts"), 20L << 30);

    /// <summary>The folder, made so that nobody else can enter it where it is the default one.</summary>
    public string Require() => Folder == Default.Folder ? PrivateFolder.Require(Folder) : Folder;
}

public static class PersistenceRegistration
{
    /// <summary>The database and the store of an embedded workspace.</summary>
    /// <param name="services">The services.</param>
    /// <param name="workspace">The workspace.</param>
    /// <param name="connection">How its database is opened; for reading and writing if left out.</param>
    public static IServiceCollection AddEmbeddedPersistence(this IServiceCollection services, Workspace workspace,
        string? connection = null)
    {
        connection ??= WorkspaceDatabase.Connection(workspace);
        return services.AddStore(workspace.Artifacts, scratch: workspace.Scratch)
            .AddPooledDbContextFactory<ArmoFlowDbContext>(options => options.UseSqlite(connection).UseSchema());
    }

    /// <summary>The database on Postgres and the store in a folder that all machines share, or in a bucket (s3://bucket/prefix).</summary>
    /// <exception cref="SettingException">It is no connection string; the error does not show it, since it holds a password.</exception>
    public static IServiceCollection AddServerPersistence(this IServiceCollection services, string postgres, string artifacts,
        CacheOptions cache)
    {
        string address = PostgresAddress(postgres); // now, not when somebody first asks for the database
        return (S3Bucket.IsAddress(artifacts)
                ? services.AddSingleton<IBucket>(_ => new S3Bucket(artifacts)).AddStore(cache.Require(), cache.Bytes)
                : services.AddStore(Path.GetFullPath(artifacts)))
            .AddPooledDbContextFactory<PostgresDbContext>(options => options.UseNpgsql(address).UseSchema())
            .AddSingleton<IDbContextFactory<ArmoFlowDbContext>, PostgresContextFactory>();
    }

    private static readonly string[] Keys =
        ["host", "port", "username", "password", "database", "ssl mode", "timeout", "maximum pool size"];

    private static string PostgresAddress(string connection)
    {
        // Nothing here leaves anything behind in a session; a reset is a round trip for each use.
        try { return new NpgsqlConnectionStringBuilder(connection) { NoResetOnClose = true }.ConnectionString; }
        catch (Exception e) when (e is ArgumentException or FormatException)
        {
            // A key that is near none of these may be the rest of a password with a semicolon in it.
            string near = e is ArgumentException { ParamName: { } key } && DidYouMean.IsNear(key, Keys)
                ? $" ('{key}': {DidYouMean.Suggest(key, Keys)})" : "";
            throw new SettingException($"--postgres or ARMOFLOW_POSTGRES: not a connection string{near}; expected "
                + "Host=…;Port=…;Username=…;Password=…;Database=…, with a value that holds ';' or '=' in double quotes. Correct it.");
        }
    }

    private static IServiceCollection AddStore(this IServiceCollection services, string folder, long cacheBytes = long.MaxValue,
        ScratchSpace? scratch = null)
    {
        services.TryAddSingleton(TimeProvider.System);
        return services.AddSingleton(s => new ArtifactStore(folder, s.GetService<IBucket>(), cacheBytes,
            s.GetService<ILogger<ArtifactStore>>(), s.GetRequiredService<TimeProvider>()))
            .AddSingleton(s => scratch ?? new ScratchSpace(Path.Combine(folder, "scratch"), null, s.GetService<IBucket>()))
            .AddSingleton<StepStore>()
            .AddSingleton<FeatureIndex>()
            .AddSingleton<StepClaims>()
            .AddSingleton<WorkStore>()
            .AddSingleton<StepLogStore>()
            .AddSingleton<FaultStore>()
            .AddSingleton<ControlRequestStore>()
            .AddSingleton<RunQueries>()
            .AddSingleton<RunStore>()
            .AddSingleton<RunChanges>()
            .AddSingleton<LeaseStore>()
            .AddSingleton<ScheduleStore>()
            .AddSingleton<WatchStore>()
            .AddSingleton<RetrainPolicyStore>()
            .AddSingleton<RetentionPolicyStore>()
            .AddSingleton<DiskFullSignal>()
            .AddSingleton<UnitsOfWork>()
            .AddSingleton<DatabaseSchema>()
            .AddSingleton<FaultKeeper>()
            .AddSingleton<Lineage>()
            .AddSingleton<AuditStore>()
            .AddSingleton<AccessKeyStore>()
                .AddSingleton<ModelRegistry>().AddSingleton<PolicyStore>().AddSingleton<BackboneStore>().AddSingleton<AlertStore>()
                .AddSingleton<HoldStore>()
                .AddSingleton<Collector>()
                .AddSingleton<ForgettingStore>()
                .AddSingleton<TombstoneStore>()
                .AddSingleton<Redaction>()
                    .AddSingleton<DatasetStore>().AddSingleton<StoreProbe>()
                    .AddScoped<IOutboxContextFactory<ArmoFlowDbContext>, ConsumerOutbox>()
                    .AddSingleton<DeliveredMarks>()
                    .AddSingleton<OutboxSignal>()
                    .AddSingleton<BusOutbox>();
    }

    private sealed class PostgresContextFactory(IDbContextFactory<PostgresDbContext> contexts) : IDbContextFactory<ArmoFlowDbContext>
    {
        public ArmoFlowDbContext CreateDbContext() => contexts.CreateDbContext();
    }

    /// <summary>Stores run sagas in the database.</summary>
    public static ISagaRegistrationConfigurator<RunState> StoredInDatabase(this ISagaRegistrationConfigurator<RunState> saga)
    {
        saga.Repository(r =>
        {
            r.RegisterSagaRepository<RunState, DbContext, SagaConsumeContextFactory<DbContext, RunState>,
                SagaRepositoryContextFactory<RunState, ArmoFlowDbContext>>();
            r.RegisterLoadSagaRepository<RunState, SagaRepositoryContextFactory<RunState, ArmoFlowDbContext>>();
            r.RegisterQuerySagaRepository<RunState, SagaRepositoryContextFactory<RunState, ArmoFlowDbContext>>();
        });
        return saga;
    }
}
