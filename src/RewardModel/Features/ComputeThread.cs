using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;

namespace ArmoFlow.RewardModel.Features;

/// <summary>
/// The one thread on which backbones compute. Each thread that calls libtorch gets a team of OpenMP threads of its own; where there
/// are more of these than processors, all teams sleep at every barrier, and a forward pass takes up to a quarter longer
/// (bench features, its last line).
/// </summary>
internal static class ComputeThread
{
    private static readonly BlockingCollection<Action> Queue = [];
    private static readonly Thread Worker = Start();

    /// <summary>Does some work there and waits for it: first come, first served.</summary>
    public static T Run<T>(Func<T> work)
    {
        if (Thread.CurrentThread == Worker) return work();
        T? result = default;
        ExceptionDispatchInfo? failure = null;
        using ManualResetEventSlim done = new();
        Queue.Add(() =>
        {
            try { result = work(); }
            catch (Exception e) { failure = ExceptionDispatchInfo.Capture(e); }
            done.Set();
        });
        done.Wait();
        failure?.Throw();
        return result!;
    }

    private static Thread Start()
    {
        Thread thread = new(() => { foreach (Action work in Queue.GetConsumingEnumerable()) work(); })
        {
            IsBackground = true,
            Name = "compute",
        };
        thread.Start();
        return thread;
    }
}
