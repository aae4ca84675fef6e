using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Retention;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Runs;

/// <summary>Rows of runs, and of the keys that they were submitted with.</summary>
public sealed class RunStore(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    /// <summary>A run's row, to be read; null for an unknown run.</summary>
    public async Task<RunState?> Find(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.CorrelationId == id, cancel);
    }

    /// <summary>True for a run that has not ended.</summary>
    public async Task<bool> IsInProgress(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Runs.AnyAsync(r => r.CorrelationId == id && !RunState.Ended.Contains(r.CurrentState), cancel);
    }

    /// <summary>A spec whose data sets have versions, without what was forgotten.</summary>
    /// <exception cref="DatasetException">It reads a data set that is not there.</exception>
    /// <exception cref="RetentionException">Nothing would be left to read.</exception>
    public static async Task<RunSpec> Settle(UnitOfWork unit, RunSpec spec, CancellationToken cancel) =>
        await ForgettingStore.Apply(unit.Database, await DatasetStore.Pin(unit.Database, spec, cancel), cancel);

    /// <exception cref="RegistryException">The model's policy leaves no room for the spec's own rule.</exception>
    public static Task RequireRoomForRule(UnitOfWork unit, RunSpec spec, CancellationToken cancel) =>
        PolicyStore.RequireRoomForRule(unit.Database, spec, cancel);

    /// <summary>Enters a run and its tags.</summary>
    public static void Add(UnitOfWork unit, RunState run)
    {
        unit.Database.Runs.Add(run);
        unit.Database.RunTags.AddRange(run.Tags.Distinct()
            .Select(tag => new RunTag { RunId = run.CorrelationId, Tag = tag, SubmittedAt = run.SubmittedAt }));
    }

    /// <summary>What a caller's key was given for; null for a new one.</summary>
    public async Task<SubmissionKey?> FindKey(string key, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.SubmissionKeys.AsNoTracking().SingleOrDefaultAsync(s => s.Key == key, cancel);
    }

    /// <summary>Takes a key; of two that do so at once the second fails (<see cref="IsTaken"/>).</summary>
    public static Task TakeKey(UnitOfWork unit, SubmissionKey key, CancellationToken cancel)
    {
        unit.Database.SubmissionKeys.Add(key);
        return unit.Database.SaveUnbound(cancel);
    }

    /// <summary>True for what is thrown where another was first.</summary>
    public static bool IsTaken(Exception e) => e is DbUpdateException;
}
