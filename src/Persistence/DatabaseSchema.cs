using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Work;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence;

/// <summary>How a database's schema compares with this program's.</summary>
public enum SchemaAge
{
    Current,

    /// <summary>No table has been made yet.</summary>
    Empty,
    Older,
    Newer,
}

/// <summary>The schema of a workspace's or of the servers' database, and what is cleared away as one is opened.</summary>
public sealed class DatabaseSchema(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    AuditStore audit,
    ArtifactStore artifacts,
    ScratchSpace scratch,
    StepLogStore logs)
{
    /// <summary>True where the database answers.</summary>
    public async Task<bool> CanConnect(CancellationToken cancel)
    {
        try
        {
            await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
            return await db.Database.CanConnectAsync(cancel);
        }
        catch (System.Data.Common.DbException) { return false; }
    }

    /// <summary>True where every migration has been made.</summary>
    /// <exception cref="System.Data.Common.DbException">The database does not answer.</exception>
    public async Task<bool> IsUpToDate(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.Database.OpenConnectionAsync(cancel);
        return !(await db.Database.GetPendingMigrationsAsync(cancel)).Any();
    }

    public async Task<SchemaAge> Age(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        HashSet<string> applied = [.. await db.Database.GetAppliedMigrationsAsync(cancel)], known = [.. db.Database.GetMigrations()];
        if (applied.SetEquals(known)) return SchemaAge.Current;
        if (!applied.IsSubsetOf(known)) return SchemaAge.Newer;
        return applied.Count == 0 ? SchemaAge.Empty : SchemaAge.Older;
    }

    /// <summary>Brings a workspace's schema up to date; the caller holds the workspace.</summary>
    public async Task MigrateWorkspace(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await Schema.MigrateWorkspace(db, cancel);
        await audit.Adopt(cancel);
    }

    /// <summary>Brings the servers' schema up to date; of several that ask at once one migrates.</summary>
    /// <param name="connection">The connection string.</param>
    /// <param name="afterwards">What is done before the next is let in.</param>
    /// <param name="say">Hears why it takes long.</param>
    /// <param name="cancel">Gives up waiting.</param>
    public async Task MigrateServer(string connection, Func<Task> afterwards, Action<string> say, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await Schema.MigrateServer(db, connection, async () =>
        {
            await audit.Adopt(cancel);
            await afterwards();
        }, say, cancel);
    }

    /// <summary>Brings a workspace up to date and clears away what a killed process left; the caller holds the workspace.</summary>
    public async Task PrepareWorkspace(CancellationToken cancel)
    {
        artifacts.RemoveLeftovers();
        await MigrateWorkspace(cancel);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.Workers.ExecuteDeleteAsync(cancel); // whose workspace this was before is no more
        await db.StepClaims.ExecuteDeleteAsync(cancel); // nor does it do what others would wait for
        scratch.RemoveAbandoned(new HashSet<Guid>());
        while (await logs.EndOrphans(cancel)) { }
    }
}
