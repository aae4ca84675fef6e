using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Runs;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>Carries out what other processes ask of this one through the database of a shared workspace.</summary>
public sealed class ControlPump(ControlRequestStore requests, RunService runs, ILogger<ControlPump> log)
    : PeriodicService("requests to runs", TimeSpan.FromMilliseconds(300), FirstRound.AfterInterval, log)
{
    protected override async Task Round(CancellationToken cancel)
    {
        foreach (ControlRequest request in await requests.Open(cancel))
        {
            try { await runs.Control(request.RunId, request.Action, cancel); }
            catch (RefusedException e) { log.LogWarning("{Message}", e.Message); }
            await requests.MarkDone(request.Id, CancellationToken.None); // also when this process ends with the run: it is not asked twice
        }
    }
}
