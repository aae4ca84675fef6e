using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>Carries out what other processes ask of this one through the database of a shared workspace.</summary>
public sealed class ControlPump(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    RunService runs,
    ILogger<ControlPump> log) : PeriodicService("requests to runs", TimeSpan.FromMilliseconds(300), FirstRound.AfterInterval, log)
{
    protected override async Task Round(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        foreach (ControlRequest request in await db.ControlRequests.Where(c => !c.Done).OrderBy(c => c.Id).ToListAsync(cancel))
        {
            try { await runs.Control(request.RunId, request.Action, cancel); }
            catch (RefusedException e) { log.LogWarning("{Message}", e.Message); }
            request.Done = true;
            await db.SaveChangesAsync(CancellationToken.None); // also when this process ends with the run: it is not asked twice
        }
    }
}
