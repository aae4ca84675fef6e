using ArmoFlow.Persistence.Work;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Workers;

/// <summary>Enters in the database what workers write down, so that little is lost with a killed process.</summary>
public sealed class LogKeeper(StepLogStore store, RunningWork running, ILogger<LogKeeper> log)
{
    private const int EndedAtOnce = 50; // each is a file to put into the store

    /// <summary>What has grown of work that lasts; work that is over sooner is entered once, when it has ended.</summary>
    public Task EnterGrown(TimeSpan lasting, CancellationToken cancel) =>
        Enter([.. running.InHand.Where(w => w.Age >= lasting).Select(w => w.Log)], cancel);

    /// <summary>What has ended; true if more is left.</summary>
    public async Task<bool> EnterEnded(CancellationToken cancel)
    {
        List<WorkLog> ended = running.TakeEnded(EndedAtOnce);
        bool isEntered = false;
        try { isEntered = await Enter(ended, cancel); }
        // also where this process is asked to end meanwhile: what ended is entered as it leaves
        finally { if (!isEntered) running.PutBack(ended); }
        return ended.Count == EndedAtOnce;
    }

    private async Task<bool> Enter(List<WorkLog> logs, CancellationToken cancel)
    {
        List<(WorkLog Log, StepLog Row)> grown =
            [.. logs.Select(l => (l, l.TakeIfGrown())).Where(l => l.Item2 is not null).Select(l => (l.l, l.Item2!))];
        if (grown.Count == 0) return true;
        bool isEntered = false;
        try
        {
            await store.Enter([.. grown.Select(g => g.Row)], cancel);
            return isEntered = true;
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            log.LogWarning("logs of work: {Message}; trying again", e.Message);
            return false;
        }
        finally
        {
            if (!isEntered) foreach ((WorkLog taken, _) in grown) taken.PutBack();
        }
    }
}
