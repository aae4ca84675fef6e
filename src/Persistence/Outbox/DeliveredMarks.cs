using System.Collections.Concurrent;
using Microsoft.EntityFrameworkCore;
using Microsoft.Extensions.Logging;

namespace ArmoFlow.Persistence.Outbox;

/// <summary>
/// Strikes out, many at a time, what consumers have sent. Should the process die before, the upkeep sends it once more, and the
/// receivers' inboxes know it.
/// </summary>
public sealed class DeliveredMarks(
    IDbContextFactory<ArmoFlowDbContext> contexts,
    TimeProvider time,
    ILogger<DeliveredMarks> log) : IAsyncDisposable
{
    private const int Batch = 500;
    private static readonly TimeSpan Gather = TimeSpan.FromMilliseconds(50);
    private readonly ConcurrentQueue<(long Inbox, long[] Messages)> _waiting = new();
    private readonly SemaphoreSlim _one = new(1);
    private int _scheduled;

    public void Add(long inboxId, long[] messages)
    {
        _waiting.Enqueue((inboxId, messages));
        if (Interlocked.Exchange(ref _scheduled, 1) == 0) _ = Soon();
    }

    private async Task Soon()
    {
        await Task.Delay(Gather);
        Volatile.Write(ref _scheduled, 0);
        try { await Flush(); }
        catch (Exception e) { log.LogWarning("outbox: striking out what was sent: {Message}; the upkeep will", e.Message); }
    }

    private async Task Flush()
    {
        await _one.WaitAsync();
        try
        {
            while (!_waiting.IsEmpty)
            {
                List<long> inboxes = [], messages = [];
                while (inboxes.Count < Batch && _waiting.TryDequeue(out (long Inbox, long[] Messages) sent))
                {
                    inboxes.Add(sent.Inbox);
                    messages.AddRange(sent.Messages);
                }
                await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync();
                await db.OutboxMessages.Where(m => messages.Contains(m.SequenceNumber)).ExecuteDeleteAsync();
                DateTime now = time.GetUtcNow().UtcDateTime;
                await db.InboxStates.Where(i => inboxes.Contains(i.Id))
                    .ExecuteUpdateAsync(set => set.SetProperty(i => i.Delivered, now));
            }
        }
        finally { _one.Release(); }
    }

    public async ValueTask DisposeAsync()
    {
        try { await Flush(); }
        catch (Exception e) { log.LogWarning("outbox: striking out what was sent: {Message}; the upkeep will", e.Message); }
        _one.Dispose();
    }
}
