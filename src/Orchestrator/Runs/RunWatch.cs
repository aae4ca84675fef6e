using System.Runtime.CompilerServices;
using System.Text.Json;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Runs;
using Microsoft.Extensions.Caching.Memory;

namespace ArmoFlow.Orchestrator.Runs;

/// <summary>Watches runs. However many watch the same one, the database is asked for it once in each interval.</summary>
public sealed class RunWatch(RunQueries queries, ProgressBoard progress) : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(250);
    private readonly MemoryCache _looks = new(new MemoryCacheOptions());

    public void Dispose() => _looks.Dispose();

    /// <summary>The run's document and progress whenever they change, until it ends.</summary>
    public async IAsyncEnumerable<RunEvent> Changes(Guid id, [EnumeratorCancellation] CancellationToken cancel)
    {
        string last = "";
        using PeriodicTimer timer = new(Interval);
        do
        {
            RunDocument? run = await Look(id, cancel);
            if (run is null || IsOver(run)) run = await queries.Find(id, cancel); // another's look may be from before it went on
            if (run is null) yield break;
            RunEvent change = new(run, progress.Of(id));
            string now =
                JsonSerializer.Serialize(change with { Run = run with { Steps = [.. run.Steps.Select(s => s with { Seconds = 0 })] } });
            if (now != last) yield return change;
            last = now;
            if (IsOver(run)) yield break;
        }
        while (await timer.WaitForNextTickAsync(cancel));
    }

    /// <summary>It has ended, or nobody is there to go on with it.</summary>
    private static bool IsOver(RunDocument run) => run.HasEnded || run.Status == RunStatus.Interrupted;

    /// <summary>One look for all who ask within an interval; none of them can cancel it for the others.</summary>
    private Task<RunDocument?> Look(Guid id, CancellationToken cancel)
    {
        Task<RunDocument?>? look = _looks.GetOrCreate(id, entry =>
        {
            entry.AbsoluteExpirationRelativeToNow = Interval;
            return queries.Find(id, CancellationToken.None);
        });
        return look!.WaitAsync(cancel);
    }
}
