namespace ArmoFlow.Persistence.Runs;

/// <summary>Wakes who waits in this process for a run's saga: it has just committed a change, of whichever run.</summary>
public sealed class RunChanges
{
    private TaskCompletionSource _next = New();

    /// <summary>Completes with the next change; to be taken before one looks, so that none falls between.</summary>
    public Task Next => Volatile.Read(ref _next).Task;

    public void Raise() => Interlocked.Exchange(ref _next, New()).SetResult();

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
