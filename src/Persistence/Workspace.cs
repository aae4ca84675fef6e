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

/// <summary>The embedded default's folder: a SQLite database, artifacts, and scratch space for unfinished steps.</summary>
public sealed class Workspace(string folder) : IDisposable
{
    private const int ReserveBytes = 1 << 20;
    private FileStream? _lock;

    public string Folder { get; } = Path.GetFullPath(folder);
    public string Database => Path.Combine(Folder, "armoflow.db");
    public string Artifacts => Path.Combine(Folder, "artifacts");
    public string Scratch => Path.Combine(Folder, "scratch");
    private string Reserve => Path.Combine(Folder, "reserve");

    /// <summary>Takes the workspace for this process; false where another one has it.</summary>
    public bool TryLock()
    {
        Directory.CreateDirectory(Folder);
        try { _lock = new FileStream(Path.Combine(Folder, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None); }
        catch (IOException) when (Directory.Exists(Folder) && File.Exists(Path.Combine(Folder, "lock"))) { return false; }
        Directory.CreateDirectory(Scratch);
        if (!File.Exists(Reserve)) SetAside();
        return true;
    }

    private void SetAside()
    {
        try { File.WriteAllBytes(Reserve, new byte[ReserveBytes]); }
        catch (IOException)
        {
            File.Delete(Reserve);
            throw;
        }
    }

    /// <summary>Frees a few MB that were set aside, so that a full disk can still be entered in the books.</summary>
    public void SpendReserve() => File.Delete(Reserve);

    public void Dispose() => _lock?.Dispose();
}

public static class PersistenceRegistration
{
    /// <summary>The books and the store of an embedded workspace.</summary>
    public static IServiceCollection AddEmbeddedPersistence(this IServiceCollection services, Workspace workspace)
    {
        string connection = new SqliteConnectionStringBuilder { DataSource = workspace.Database, DefaultTimeout = 60 }.ToString();
        services.AddSingleton(workspace);
        services.AddSingleton(new ArtifactStore(workspace.Artifacts));
        services.AddSingleton<StepBooks>();
        services.TryAddSingleton(TimeProvider.System);
        return services.AddDbContextFactory<ArmoFlowDbContext>(options => options.UseSqlite(connection).UseSnakeCaseNamingConvention());
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
