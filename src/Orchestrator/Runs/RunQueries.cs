using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Orchestrator.Runs;

public sealed record RunFilter
{
    public string? Status { get; init; }
    public string? Name { get; init; }
    public string? Tag { get; init; }
    public DateTimeOffset? From { get; init; }
    public DateTimeOffset? To { get; init; }

    /// <summary>Text to find in the name, the error or the id.</summary>
    public string? Q { get; init; }

    /// <summary>Where the page before ended.</summary>
    public string? Cursor { get; init; }
    public int Limit { get; init; } = 50;
}

public sealed record RunPage(IReadOnlyList<RunDocument> Runs, string? Cursor);

/// <summary>What the books say of runs; needs no bus.</summary>
public sealed class RunQueries(IDbContextFactory<ArmoFlowDbContext> contexts, ArtifactStore artifacts, ProgressBoard progress, TimeProvider time)
{
    private static readonly string[] Ended = ["Completed", "Failed", "Cancelled"];

    /// <summary>A run of this spec that was interrupted or paused, if there is one.</summary>
    public async Task<Guid?> FindUnfinished(RunSpec spec, CancellationToken cancel)
    {
        string digest = SpecReader.Digest(spec);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RunState? run = await db.Runs.AsNoTracking().Where(r => r.SpecDigest == digest && !Ended.Contains(r.CurrentState)).OrderByDescending(r => r.SubmittedAt).FirstOrDefaultAsync(cancel);
        return run?.CorrelationId;
    }

    /// <summary>Runs that a process left in the middle of a step.</summary>
    public async Task<IReadOnlyList<Guid>> Interrupted(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Runs.AsNoTracking().Where(r => !Ended.Contains(r.CurrentState) && r.CurrentState != "Paused").OrderBy(r => r.SubmittedAt).Select(r => r.CorrelationId).ToListAsync(cancel);
    }

    public async Task<RunDocument?> Find(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        RunState? run = await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.CorrelationId == id, cancel);
        return run?.ToDocument(artifacts.PathOf, time.GetUtcNow());
    }

    public async Task<RunSpec?> FindSpec(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return (await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.CorrelationId == id, cancel))?.Spec;
    }

    public StepProgressed? Progress(Guid id) => progress.Of(id);

    public async Task<RunPage> List(RunFilter filter, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<RunState> runs = db.Runs.AsNoTracking();
        if (filter.Status is { } status) runs = runs.Where(r => r.CurrentState == status);
        if (filter.Name is { } name) runs = runs.Where(r => r.Name == name);
        if (filter.From is { } from) runs = runs.Where(r => r.SubmittedAt >= from);
        if (filter.To is { } to) runs = runs.Where(r => r.SubmittedAt <= to);
        if (filter.Cursor is { } cursor && DateTimeOffset.TryParse(cursor, System.Globalization.CultureInfo.InvariantCulture, out DateTimeOffset before)) runs = runs.Where(r => r.SubmittedAt < before);
        int limit = Math.Clamp(filter.Limit, 1, 500);
        List<RunState> page = [];
        // Tags are JSON and q looks into several columns: both are matched here, over a newest-first stream that ends with the page.
        await foreach (RunState run in runs.OrderByDescending(r => r.SubmittedAt).AsAsyncEnumerable().WithCancellation(cancel))
        {
            if (filter.Tag is { } tag && !run.Tags.Contains(tag)) continue;
            if (filter.Q is { } q && !$"{run.Name} {run.CorrelationId} {run.Error}".Contains(q, StringComparison.OrdinalIgnoreCase)) continue;
            page.Add(run);
            if (page.Count == limit) break;
        }
        DateTimeOffset now = time.GetUtcNow();
        return new RunPage([.. page.Select(r => r.ToDocument(artifacts.PathOf, now))],
            page.Count == limit ? page[^1].SubmittedAt.ToString("O", System.Globalization.CultureInfo.InvariantCulture) : null);
    }
}
