using ArmoFlow.Persistence.Work;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Workers;

/// <summary>Enters what workers write down in the books, each second what has grown, so that little is lost with a killed process.</summary>
public sealed class LogKeeper(StepLogBooks books, RunningWork running, ILogger<LogKeeper> log) : BackgroundService
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1), LastLimit = TimeSpan.FromSeconds(10);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using PeriodicTimer timer = new(Tick);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken)) await Enter(stoppingToken);
        }
        catch (OperationCanceledException) { }
        using CancellationTokenSource limit = new(LastLimit);
        await Enter(limit.Token);
    }

    private async Task Enter(CancellationToken cancel)
    {
        // Work that is over within the second is entered once, when it has ended.
        List<WorkLog> open = [.. running.InHand.Where(w => w.Age >= Tick).Select(w => w.Log)], ended = running.TakeEnded();
        List<(WorkLog Log, StepLog Row)> grown = [.. open.Concat(ended).Distinct().Select(l => (l, l.TakeIfGrown())).Where(l => l.Item2 is not null).Select(l => (l.l, l.Item2!))];
        if (grown.Count == 0) return;
        try { await books.Enter([.. grown.Select(g => g.Row)], cancel); }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            log.LogWarning("logs of work: {Message}; trying again", e.Message);
            foreach ((WorkLog taken, _) in grown) taken.PutBack();
            running.PutBack(ended);
        }
    }
}
