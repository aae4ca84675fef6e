using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>Carries out what other processes ask of this one through the database of a shared workspace.</summary>
public sealed class ControlPump(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    RunService runs,
    ILogger<ControlPump> log) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(300);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using PeriodicTimer timer = new(Interval);
        while (await timer.WaitForNextTickAsync(stoppingToken))
        {
            await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(stoppingToken);
            foreach (ControlRequest request in await db.ControlRequests.Where(c => !c.Done).OrderBy(c => c.Id).ToListAsync(stoppingToken))
            {
                try { await runs.Control(request.RunId, request.Action, stoppingToken); }
                catch (RefusedException e) { log.LogWarning("{Message}", e.Message); }
                request.Done = true;
                await db.SaveChangesAsync(CancellationToken.None); // also when this process ends with the run: it is not asked twice
            }
        }
    }
}
