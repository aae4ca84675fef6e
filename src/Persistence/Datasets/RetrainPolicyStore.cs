using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Audit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Datasets;

/// <summary>Rows of retrain policies.</summary>
public sealed class RetrainPolicyStore(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    public async Task<IReadOnlyList<RetrainPolicy>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.RetrainPolicies.AsNoTracking().OrderBy(p => p.Name).ToListAsync(cancel);
    }

    /// <summary>Adds a policy, or puts it in place of the one of its name; what the data sets hold now counts as read.</summary>
    /// <exception cref="DatasetException">A data set is not there.</exception>
    public async Task<RetrainPolicy> Put(string name, RunSpec spec, IReadOnlyList<string> datasets, string createdBy,
        CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Dictionary<string, int> versions = [];
        foreach (string dataset in datasets) versions[dataset] = await DatasetStore.Newest(db, dataset, cancel);
        RetrainPolicy? row = await db.RetrainPolicies.SingleOrDefaultAsync(p => p.Name == name, cancel);
        object? before = row is null ? null : Told(row);
        if (row is null) db.RetrainPolicies.Add(row = new RetrainPolicy { Name = name });
        row.Spec = spec;
        row.Versions = versions;
        row.CreatedBy = createdBy;
        db.Note("policy.put", $"policy/{name}", before, Told(row));
        await db.SaveChangesAsync(cancel);
        return row;
    }

    /// <summary>Enters since when a policy is paused; null where it goes on.</summary>
    /// <exception cref="DatasetException">There is no such policy.</exception>
    public async Task<RetrainPolicy> SetPause(string name, DateTimeOffset? pausedAt, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RetrainPolicy row = await Find(db, name, cancel);
        row.PausedAt = pausedAt is null ? null : row.PausedAt ?? pausedAt;
        db.Note(pausedAt is null ? "policy.resumed" : "policy.paused", $"policy/{name}");
        await db.SaveChangesAsync(cancel);
        return row;
    }

    /// <exception cref="DatasetException">There is no such policy.</exception>
    public async Task Remove(string name, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RetrainPolicy row = await Find(db, name, cancel);
        db.Note("policy.removed", $"policy/{name}", Told(row));
        db.Remove(row);
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>The files of the data sets that a policy watches, also those that were withdrawn.</summary>
    public async Task<IReadOnlyList<DatasetFile>> Files(RetrainPolicy policy, CancellationToken cancel)
    {
        string[] names = [.. policy.Versions.Keys];
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.DatasetFiles.AsNoTracking().Where(f => names.Contains(f.Dataset)).ToListAsync(cancel);
    }

    /// <summary>Takes a policy's turn; null where another did, or it is paused. What is changed of it is saved with the unit.</summary>
    public static async Task<RetrainPolicy?> TakeTurn(UnitOfWork unit, RetrainPolicy policy, CancellationToken cancel)
    {
        DbSet<RetrainPolicy> policies = unit.Database.RetrainPolicies;
        int taken = await policies.Where(p => p.Name == policy.Name && p.Turn == policy.Turn && p.PausedAt == null)
            .ExecuteUpdateAsync(set => set.SetProperty(p => p.Turn, policy.Turn + 1), cancel);
        return taken == 0 ? null : await policies.SingleAsync(p => p.Name == policy.Name, cancel);
    }

    private static async Task<RetrainPolicy> Find(ArmoFlowDbContext db, string name, CancellationToken cancel) =>
        await db.RetrainPolicies.SingleOrDefaultAsync(p => p.Name == name, cancel)
            ?? throw new DatasetException($"no policy '{name}'. See: armoflow policies list.", Refusal.Missing);

    private static object Told(RetrainPolicy p) => new { spec = SpecReader.Digest(p.Spec), when = p.Spec.Retrain, p.Versions };
}
