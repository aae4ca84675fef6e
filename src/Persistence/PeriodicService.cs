using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Persistence;

/// <summary>When the first round of a <see cref="PeriodicService"/> is.</summary>
public enum FirstRound
{
    /// <summary>As the process starts.</summary>
    AtOnce,

    /// <summary>One interval after the process has started.</summary>
    AfterInterval,
}

/// <summary>
/// Does the same work in fixed intervals until the process ends. A round that fails is logged, and the next one tries again;
/// a round that takes longer than the interval delays the next one, so that two never run at once.
/// </summary>
/// <param name="subject">What a warning about a failed round begins with.</param>
/// <param name="interval">From the start of one round to the start of the next.</param>
/// <param name="first">When the first round is.</param>
/// <param name="log">Where failures are written.</param>
public abstract class PeriodicService(string subject, TimeSpan interval, FirstRound first, ILogger log) : BackgroundService
{
    /// <summary>One round of work.</summary>
    /// <param name="cancel">The process is asked to end.</param>
    protected abstract Task Round(CancellationToken cancel);

    /// <summary>Failures that pass by themselves and need no warning; none, unless a service knows of some.</summary>
    protected virtual bool IsTransient(Exception e) => false;

    /// <summary>What is done once, after the last round.</summary>
    protected virtual Task End() => Task.CompletedTask;

    /// <inheritdoc/>
    protected sealed override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using PeriodicTimer timer = new(interval);
        try
        {
            if (first == FirstRound.AtOnce) await TryRound(stoppingToken);
            while (await timer.WaitForNextTickAsync(stoppingToken)) await TryRound(stoppingToken);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested) { }
        await End();
    }

    private async Task TryRound(CancellationToken cancel)
    {
        try
        {
            await Round(cancel);
        }
        catch (Exception e) when (e is not OperationCanceledException || !cancel.IsCancellationRequested)
        {
            LogLevel level = IsTransient(e) ? LogLevel.Debug : LogLevel.Warning;
            log.Log(level, "{Subject}: {Message}; trying again", subject, e.Message);
        }
    }
}
