using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Work;

/// <summary>Who works on what: workers, their leases, and the shards of steps that several work on.</summary>
public sealed class WorkStore(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    /// <summary>True where the run has gone on without this asking for a step: cancelled, paused, failed, or asked anew.</summary>
    public async Task<bool> IsSuperseded(Guid run, int attempt, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        var now =
            await db.Runs.Where(r => r.CorrelationId == run).Select(r => new { r.Attempt, r.CurrentState }).SingleOrDefaultAsync(cancel);
        return now is not null && (now.Attempt != attempt || RunState.AtRest.Contains(now.CurrentState));
    }

    /// <summary>The spec that an asking is for; null where the run has gone on without it.</summary>
    /// <exception cref="OtherSpecException">The run's row holds another spec than the asking names.</exception>
    public async Task<RunSpec?> SpecOf(StepCommand command, CancellationToken cancel)
    {
        if (command.Spec is { } carried) return await IsSuperseded(command.RunId, command.Attempt, cancel) ? null : carried;
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        var run = await db.Runs
            .Where(r => r.CorrelationId == command.RunId && r.Attempt == command.Attempt && !RunState.AtRest.Contains(r.CurrentState))
            .Select(r => new { r.Spec, r.SpecDigest })
            .SingleOrDefaultAsync(cancel);
        // By the digest that was entered: one made anew would differ after an upgrade that gives specs another member.
        if (run is not null && command.SpecDigest.Length > 0 && run.SpecDigest != command.SpecDigest)
            throw new OtherSpecException(run.SpecDigest, command.SpecDigest);
        return run?.Spec;
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
            await db.WorkLeases.Where(l => l.RunId == lease.RunId && l.Step == lease.Step && l.Slot == lease.Slot)
                .ExecuteDeleteAsync(cancel);
            db.WorkLeases.Add(lease);
        }
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>A worker's heartbeat, which renews the leases on its work; a worker that had been given up is announced anew.</summary>
    public async Task Beat(WorkerRow worker, string current, string idleSteps, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        worker.Beats++;
        worker.SeenAt = time.GetUtcNow();
        worker.Current = current;
        worker.IdleSteps = idleSteps;
        await db.WorkLeases.Where(l => l.Worker == worker.Id)
            .ExecuteUpdateAsync(set => set.SetProperty(l => l.Renewals, l => l.Renewals + 1), cancel);
        int known = await db.Workers.Where(w => w.Id == worker.Id).ExecuteUpdateAsync(set => set
            .SetProperty(w => w.Beats, worker.Beats)
            .SetProperty(w => w.SeenAt, worker.SeenAt)
            .SetProperty(w => w.Current, current)
            .SetProperty(w => w.IdleSteps, idleSteps), cancel);
        if (known == 0) await Announce(worker, cancel);
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

    /// <summary>The plan by which a step is cut into shards; null where there is none.</summary>
    public async Task<string?> PlanOf(StepKey key, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ShardedSteps.Where(s => s.Key == key.Value).Select(s => s.Plan).SingleOrDefaultAsync(cancel);
    }

    /// <summary>The shards of a plan that are still to be done; null where the step follows another plan, which came first.</summary>
    public static async Task<IReadOnlyList<int>?> OpenShards(ArmoFlowDbContext db, StepKey key, string plan, int shards,
        CancellationToken cancel)
    {
        await db.Database.ExecuteSqlAsync($"""
            insert into sharded_steps (key, plan, shards, done, items) values ({key.Value}, {plan}, {shards}, 0, 0)
            on conflict (key) do nothing
            """, cancel);
        if (!await LockPlan(db, key, plan, cancel)) return null;
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

    /// <summary>
    /// Enters a shard as done, once. Concurrent enterings wait for one another's commit, so that the last of them sees that none is
    /// left.
    /// </summary>
    public static async Task<ShardOutcome> FinishShard(ArmoFlowDbContext db, StepKey key, string plan, int shard, int items,
        CancellationToken cancel)
    {
        if (!await LockPlan(db, key, plan, cancel)) return ShardOutcome.OfNoPlan;
        int entered = await db.Database.ExecuteSqlAsync(
            $"insert into finished_shards (key, shard) values ({key.Value}, {shard}) on conflict (key, shard) do nothing", cancel);
        await db.ShardedSteps.Where(s => s.Key == key.Value)
            .ExecuteUpdateAsync(set => set.SetProperty(s => s.Done, s => s.Done + entered)
                .SetProperty(s => s.Items, s => s.Items + (entered * items)), cancel);
        bool isLast = await db.ShardedSteps.AnyAsync(s => s.Key == key.Value && s.Done == s.Shards, cancel);
        return isLast ? ShardOutcome.LastIsDone : ShardOutcome.MoreAreOpen;
    }

    /// <summary>Forgets a step's shards, once it is finished or has to be planned anew.</summary>
    public static async Task ForgetShards(ArmoFlowDbContext db, StepKey key, CancellationToken cancel)
    {
        await db.ShardedSteps.Where(s => s.Key == key.Value).ExecuteDeleteAsync(cancel); // first, as all who enter shards lock it first
        await db.FinishedShards.Where(s => s.Key == key.Value).ExecuteDeleteAsync(cancel);
    }

    /// <summary>Locks the step's row until the transaction ends; false where it follows another plan, or none.</summary>
    private static async Task<bool> LockPlan(ArmoFlowDbContext db, StepKey key, string plan, CancellationToken cancel) =>
        await db.ShardedSteps.Where(s => s.Key == key.Value && s.Plan == plan)
            .ExecuteUpdateAsync(set => set.SetProperty(s => s.Shards, s => s.Shards), cancel) > 0;

    private static IQueryable<WorkLease> Own(ArmoFlowDbContext db, WorkLease lease) =>
        db.WorkLeases.Where(l => l.RunId == lease.RunId && l.Step == lease.Step && l.Slot == lease.Slot && l.Worker == lease.Worker);
}

/// <summary>What the entering of a shard showed.</summary>
public enum ShardOutcome
{
    /// <summary>Others are still to be done.</summary>
    MoreAreOpen,

    /// <summary>All are done: the step can be finished.</summary>
    LastIsDone,

    /// <summary>The step follows no such plan any more: it was finished, or planned anew.</summary>
    OfNoPlan,
}

/// <summary>A run's row holds another spec than a command names.</summary>
public sealed class OtherSpecException(string held, string named)
    : Exception($"the run's row holds the spec {held}, and the command names {named}; expected the same. Submit the spec again.");
