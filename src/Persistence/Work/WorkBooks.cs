using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Work;

/// <summary>Who works on what: workers, their leases, and the shards of steps that several work on.</summary>
public sealed class WorkBooks(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    /// <summary>True where the run has gone on without this asking for a step: cancelled, paused, failed, or asked anew.</summary>
    public async Task<bool> IsSuperseded(Guid run, int attempt, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        var now = await db.Runs.Where(r => r.CorrelationId == run).Select(r => new { r.Attempt, r.CurrentState }).SingleOrDefaultAsync(cancel);
        return now is not null && (now.Attempt != attempt || RunState.AtRest.Contains(now.CurrentState));
    }

    public async Task Announce(WorkerRow worker, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        db.Workers.Add(worker);
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Writes leases for work that was begun, drops those of work that ended.</summary>
    public async Task Exchange(IReadOnlyCollection<WorkLease> begun, IReadOnlyCollection<WorkLease> ended, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        foreach (WorkLease lease in ended) await Own(db, lease).ExecuteDeleteAsync(cancel);
        foreach (WorkLease lease in begun)
        {
            // A twin's lease of the same work gives way: the later of the two is looked after.
            await db.WorkLeases.Where(l => l.RunId == lease.RunId && l.Step == lease.Step && l.Slot == lease.Slot).ExecuteDeleteAsync(cancel);
            db.WorkLeases.Add(lease);
        }
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>A worker's sign of life, for itself and all it has in hand; announces it anew where it had been given up.</summary>
    public async Task Beat(WorkerRow worker, string current, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        (worker.Beats, worker.SeenAt, worker.Current) = (worker.Beats + 1, DateTimeOffset.UtcNow, current);
        await db.WorkLeases.Where(l => l.Worker == worker.Id).ExecuteUpdateAsync(set => set.SetProperty(l => l.Renewals, l => l.Renewals + 1), cancel);
        if (await db.Workers.Where(w => w.Id == worker.Id).ExecuteUpdateAsync(set => set.SetProperty(w => w.Beats, worker.Beats).SetProperty(w => w.SeenAt, worker.SeenAt).SetProperty(w => w.Current, current), cancel) == 0)
            await Announce(worker, cancel);
    }

    public async Task Leave(Guid worker, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.WorkLeases.Where(l => l.Worker == worker).ExecuteDeleteAsync(cancel);
        await db.Workers.Where(w => w.Id == worker).ExecuteDeleteAsync(cancel);
    }

    public async Task<IReadOnlyList<WorkerRow>> Workers(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Workers.AsNoTracking().OrderBy(w => w.StartedAt).ToListAsync(cancel);
    }

    /// <summary>The shards of a step that are still to be done; all of them the first time.</summary>
    public static async Task<IReadOnlyList<int>> OpenShards(ArmoFlowDbContext db, StepKey key, int shards, CancellationToken cancel)
    {
        await db.Database.ExecuteSqlAsync($"insert into sharded_steps (key, shards, done, items) values ({key.Value}, {shards}, 0, 0) on conflict (key) do nothing", cancel);
        HashSet<int> done = [.. await db.FinishedShards.Where(s => s.Key == key.Value).Select(s => s.Shard).ToListAsync(cancel)];
        return [.. Enumerable.Range(0, shards).Where(s => !done.Contains(s))];
    }

    public async Task<bool> IsFinished(StepKey key, int shard, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.FinishedShards.AnyAsync(s => s.Key == key.Value && s.Shard == shard, cancel);
    }

    public async Task<int> ItemsDone(StepKey key, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ShardedSteps.Where(s => s.Key == key.Value).Select(s => s.Items).SingleOrDefaultAsync(cancel);
    }

    /// <summary>Enters a shard as done, once; true if no shard is left. Concurrent enterings wait for one another's commit.</summary>
    public static async Task<bool> FinishShard(ArmoFlowDbContext db, StepKey key, int shard, int items, CancellationToken cancel)
    {
        int entered = await db.Database.ExecuteSqlAsync($"insert into finished_shards (key, shard) values ({key.Value}, {shard}) on conflict (key, shard) do nothing", cancel);
        await db.ShardedSteps.Where(s => s.Key == key.Value).ExecuteUpdateAsync(set => set.SetProperty(s => s.Done, s => s.Done + entered).SetProperty(s => s.Items, s => s.Items + (entered * items)), cancel);
        return await db.ShardedSteps.AnyAsync(s => s.Key == key.Value && s.Done == s.Shards, cancel);
    }

    /// <summary>Forgets a step's shards, once it is finished or has to be planned anew.</summary>
    public static async Task ForgetShards(ArmoFlowDbContext db, StepKey key, CancellationToken cancel)
    {
        await db.FinishedShards.Where(s => s.Key == key.Value).ExecuteDeleteAsync(cancel);
        await db.ShardedSteps.Where(s => s.Key == key.Value).ExecuteDeleteAsync(cancel);
    }

    private static IQueryable<WorkLease> Own(ArmoFlowDbContext db, WorkLease lease) =>
        db.WorkLeases.Where(l => l.RunId == lease.RunId && l.Step == lease.Step && l.Slot == lease.Slot && l.Worker == lease.Worker);
}
