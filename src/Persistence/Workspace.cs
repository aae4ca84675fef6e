using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Sagas;
using ArmoFlow.Persistence.Steps;
using MassTransit;
using MassTransit.Configuration;
using MassTransit.Saga;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace ArmoFlow.Persistence;

/// <summary>
/// Where unfinished steps keep their plans and checkpoints, by step key. Every worker that may take a step's next slice must
/// see the same folder.
/// </summary>
/// <param name="Folder">The folder.</param>
/// <param name="Reserve">A file set aside, to be given up when the disk is full; null for none.</param>
public sealed record ScratchSpace(string Folder, string? Reserve)
{
    /// <summary>Frees what was set aside, so that a full disk can still be entered in the books.</summary>
    public void SpendReserve()
    {
        if (Reserve is not null) File.Delete(Reserve);
    }
}

/// <summary>The embedded default's folder: a SQLite database, artifacts, and scratch space for unfinished steps.</summary>
public sealed class Workspace(string folder) : IDisposable
{
    private const int ReserveBytes = 1 << 20;
    private FileStream? _lock;

    public string Folder { get; } = Path.GetFullPath(folder);
    public string Database => Path.Combine(Folder, "armoflow.db");
    public string Artifacts => Path.Combine(Folder, "artifacts");
    public ScratchSpace Scratch => new(Path.Combine(Folder, "scratch"), Path.Combine(Folder, "reserve"));

    /// <summary>Takes the workspace for this process; false where another one has it.</summary>
    public bool TryLock()
    {
        Directory.CreateDirectory(Folder);
        try { _lock = new FileStream(Path.Combine(Folder, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None); }
        catch (IOException) when (File.Exists(Path.Combine(Folder, "lock"))) { return false; }
        Directory.CreateDirectory(Scratch.Folder);
        if (!File.Exists(Scratch.Reserve)) SetAside(Scratch.Reserve!);
        return true;
    }

    private static void SetAside(string reserve)
    {
        try { File.WriteAllBytes(reserve, new byte[ReserveBytes]); }
        catch (IOException)
        {
            File.Delete(reserve);
            throw;
        }
    }

    public void Dispose() => _lock?.Dispose();
}

public static class PersistenceRegistration
{
    /// <summary>The books and the store of an embedded workspace.</summary>
    public static IServiceCollection AddEmbeddedPersistence(this IServiceCollection services, Workspace workspace)
    {
        string connection = new SqliteConnectionStringBuilder { DataSource = workspace.Database, DefaultTimeout = 60 }.ToString();
        return services.AddStore(workspace.Artifacts, workspace.Scratch)
            .AddDbContextFactory<ArmoFlowDbContext>(options => options.UseSqlite(connection).UseSnakeCaseNamingConvention());
    }

    /// <summary>The books on Postgres and the store in a folder that all machines share.</summary>
    public static IServiceCollection AddServerPersistence(this IServiceCollection services, string postgres, string artifacts) => services
        .AddStore(artifacts, new ScratchSpace(Path.Combine(artifacts, "scratch"), null))
        .AddDbContextFactory<PostgresDbContext>(options => options.UseNpgsql(postgres).UseSnakeCaseNamingConvention())
        .AddSingleton<IDbContextFactory<ArmoFlowDbContext>, PostgresContextFactory>();

    private static IServiceCollection AddStore(this IServiceCollection services, string artifacts, ScratchSpace scratch)
    {
        services.TryAddSingleton(TimeProvider.System);
        return services.AddSingleton(new ArtifactStore(artifacts)).AddSingleton(scratch).AddSingleton<StepBooks>();
    }

    private sealed class PostgresContextFactory(IDbContextFactory<PostgresDbContext> contexts) : IDbContextFactory<ArmoFlowDbContext>
    {
        public ArmoFlowDbContext CreateDbContext() => contexts.CreateDbContext();
    }

    /// <summary>Stores run sagas in the books.</summary>
    public static ISagaRegistrationConfigurator<RunState> StoredInBooks(this ISagaRegistrationConfigurator<RunState> saga)
    {
        saga.Repository(r =>
        {
            r.RegisterSagaRepository<RunState, DbContext, SagaConsumeContextFactory<DbContext, RunState>, SagaRepositoryContextFactory<RunState, ArmoFlowDbContext>>();
            r.RegisterLoadSagaRepository<RunState, SagaRepositoryContextFactory<RunState, ArmoFlowDbContext>>();
            r.RegisterQuerySagaRepository<RunState, SagaRepositoryContextFactory<RunState, ArmoFlowDbContext>>();
        });
        return saga;
    }
}
