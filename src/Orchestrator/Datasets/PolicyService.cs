using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Orchestrator.Datasets;

/// <summary>Adds, removes and pauses retrain policies; needs no bus.</summary>
public sealed class PolicyService(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    public async Task<IReadOnlyList<PolicyDocument>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return [.. (await db.RetrainPolicies.AsNoTracking().OrderBy(p => p.Name).ToListAsync(cancel)).Select(Document)];
    }

    /// <summary>Adds a policy, or puts it in place of the one of its name; what the data sets hold now counts as read.</summary>
    /// <exception cref="DatasetException">The spec reads no data set, or one that is not there.</exception>
    public async Task<PolicyDocument> Put(string name, RunSpec spec, CancellationToken cancel)
    {
        if (!DatasetReference.IsName(name))
            throw new DatasetException($"policy '{name}': expected a name of letters, digits, '-', '_' and '.'.");
        if (spec.Retrain?.Cron is { } cron) _ = new ScheduleTimes(cron, "UTC"); // refused here, not at its first time
        string[] read = [.. DatasetReference.FilesOf(spec)
            .Select(DatasetReference.TryParse)
            .OfType<DatasetReference>()
            .Where(r => r.Version is null)
            .Select(r => r.Name)
            .Distinct()];
        if (read.Length == 0)
        {
            throw new DatasetException(
                $"policy '{name}': the spec reads no data set, so nothing would ever set it off. Name one among its files: dataset:NAME.");
        }
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Dictionary<string, int> versions = [];
        foreach (string dataset in read)
            versions[dataset] = await DatasetStore.Newest(db, dataset, cancel);
        RetrainPolicy? row = await db.RetrainPolicies.SingleOrDefaultAsync(p => p.Name == name, cancel);
        object? before = row is null ? null : Told(row);
        if (row is null) db.RetrainPolicies.Add(row = new RetrainPolicy { Name = name });
        row.Spec = spec;
        row.Versions = versions;
        row.CreatedBy = Caller.Current.Name;
        db.Note("policy.put", $"policy/{name}", before, Told(row));
        await db.SaveChangesAsync(cancel);
        return Document(row);
    }

    /// <summary>Pauses a policy, or goes on with it: what has arrived in between counts.</summary>
    /// <exception cref="DatasetException">There is no such policy.</exception>
    public async Task<PolicyDocument> Pause(string name, bool pauses, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RetrainPolicy row = await Find(db, name, cancel);
        row.PausedAt = pauses ? row.PausedAt ?? time.GetUtcNow() : null;
        db.Note(pauses ? "policy.paused" : "policy.resumed", $"policy/{name}");
        await db.SaveChangesAsync(cancel);
        return Document(row);
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

    private static async Task<RetrainPolicy> Find(ArmoFlowDbContext db, string name, CancellationToken cancel) =>
        await db.RetrainPolicies.SingleOrDefaultAsync(p => p.Name == name, cancel)
            ?? throw new DatasetException($"no policy '{name}'. See: armoflow policies list.", Refusal.Missing);

    private static PolicyDocument Document(RetrainPolicy p) =>
        new(p.Name, p.Spec.Name, p.Spec.Retrain ?? new RetrainSpec(), p.Versions, p.PausedAt, p.CreatedBy, p.LastRunId, p.LastRunAt);

    private static object Told(RetrainPolicy p) => new { spec = SpecReader.Digest(p.Spec), when = p.Spec.Retrain, p.Versions };
}
