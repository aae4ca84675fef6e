using ArmoFlow.Contracts.Runs;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Runs;

/// <summary>What other processes ask of the one that holds a workspace.</summary>
public sealed class ControlRequestStore(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    /// <summary>Asks the holder to act on a run; returns the request's number.</summary>
    public async Task<long> Ask(Guid run, RunAction action, CancellationToken cancel)
    {
        ControlRequest request = new() { RunId = run, Action = action, RequestedAt = time.GetUtcNow() };
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        db.ControlRequests.Add(request);
        await db.SaveChangesAsync(cancel);
        return request.Id;
    }

    /// <summary>Requests that nobody has heard yet, oldest first.</summary>
    public async Task<IReadOnlyList<ControlRequest>> Open(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ControlRequests.AsNoTracking().Where(c => !c.Done).OrderBy(c => c.Id).ToListAsync(cancel);
    }

    /// <summary>True once a request was heard.</summary>
    public async Task<bool> IsDone(long request, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ControlRequests.AnyAsync(c => c.Id == request && c.Done, cancel);
    }

    /// <summary>Enters that a request was heard, or is not asked any more.</summary>
    public async Task MarkDone(long request, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.ControlRequests.Where(c => c.Id == request).ExecuteUpdateAsync(set => set.SetProperty(c => c.Done, true), cancel);
    }
}
