using System.Globalization;
using System.Linq.Expressions;
using System.Text.Json.Nodes;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Filters;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.Persistence.Work;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Runs;

/// <summary>What the database says of runs; needs no bus.</summary>
/// <param name="contexts">The database.</param>
/// <param name="artifacts">The store.</param>
/// <param name="time">The clock.</param>
/// <param name="workspace">Given to who looks at a workspace from outside: its runs in progress are interrupted when nobody holds
/// it.</param>
public sealed class RunQueries(
    IDbContextFactory<ArmoFlowDbContext> contexts,
        ArtifactStore artifacts,
        TimeProvider time,
        Workspace? workspace = null)
{
    private const int LargestPage = 500;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>A run of this spec that was interrupted or paused, if there is one.</summary>
    public async Task<Guid?> FindUnfinished(RunSpec spec, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        string digest = SpecReader.Digest(await ForgettingStore.Apply(db, await DatasetStore.Pin(db, spec, cancel), cancel));
        RunState? run = await db.Runs.AsNoTracking()
            .Where(r => r.SpecDigest == digest && !RunState.Ended.Contains(r.CurrentState))
            .OrderByDescending(r => r.SubmittedAt)
            .FirstOrDefaultAsync(cancel);
        return run?.CorrelationId;
    }

    /// <summary>Runs that a process left in the middle of a step.</summary>
    public async Task<IReadOnlyList<Guid>> Interrupted(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Runs.AsNoTracking()
            .Where(r => !RunState.Ended.Contains(r.CurrentState)
                && r.CurrentState != nameof(RunStatus.Paused)
                && r.CurrentState != RunState.Submitted)
            .OrderBy(r => r.SubmittedAt)
            .Select(r => r.CorrelationId)
            .ToListAsync(cancel);
    }

    public async Task<RunDocument?> Find(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.CorrelationId == id, cancel) is not { } run) return null;
        if (!IsInterrupted(run)) await TellWhoWorks(db, run, cancel);
        RunDocument document = (await Documents(db, [run], cancel))[0];
        return document.HasEnded ? await Judged(db, document, cancel) : document;
    }

    /// <summary>With what the gates made of it, and the alerts that it raised.</summary>
    private static async Task<RunDocument> Judged(ArmoFlowDbContext db, RunDocument run, CancellationToken cancel)
    {
        ModelEvaluation? evaluation = run.Model is null ? null
            : await db.ModelEvaluations.AsNoTracking().SingleOrDefaultAsync(e => e.RunId == run.RunId, cancel);
        List<Alert> alerts = await db.Alerts.AsNoTracking().Where(a => a.RunId == run.RunId).OrderBy(a => a.Id).ToListAsync(cancel);
        return run with
        {
            Gates = evaluation?.Holds is { } holds ? new GatesDocument(holds, JsonNode.Parse(evaluation.Verdicts)!.AsArray()) : null,
            Alerts = [.. alerts.Select(a => new AlertDocument(a.Kind, a.Text, a.RaisedAt))],
        };
    }

    public async Task<RunSpec?> FindSpec(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return (await db.Runs.AsNoTracking().SingleOrDefaultAsync(r => r.CorrelationId == id, cancel))?.Spec;
    }

    /// <summary>The keys of the steps that a run has recorded.</summary>
    public async Task<IReadOnlyList<string>> StepKeys(Guid id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<RunStep> steps = await db.Runs.Where(r => r.CorrelationId == id).Select(r => r.Steps).SingleOrDefaultAsync(cancel) ?? [];
        return [.. steps.Select(s => s.Key).OfType<string>()];
    }

    /// <summary>The status that a caller asks for; null where it asks for none.</summary>
    /// <exception cref="FilterException">There is no such status.</exception>
    public static RunStatus? StatusOf(string? text)
    {
        if (text is null) return null;
        if (EnumText.Find<RunStatus>(text) is { } status) return status;
        IReadOnlyList<string> all = EnumText.All<RunStatus>();
        string? meant = all.FirstOrDefault(s => s.Equals(text, StringComparison.OrdinalIgnoreCase));
        string remedy = meant is null ? "" : $" Did you mean {meant}?";
        throw new FilterException($"status '{text}': expected one of {string.Join(", ", all)}.{remedy}");
    }

    public async Task<RunPage> List(RunFilter filter, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<RunState> runs = db.Runs.AsNoTracking();
        IQueryable<RunTag> tags = db.RunTags.Where(t => t.Tag == filter.Tag);
        if (filter.Status == RunStatus.Interrupted)
        {
            bool isHeld = workspace?.IsHeld() ?? true;
            runs = runs.Where(r => !isHeld && !RunState.AtRest.Contains(r.CurrentState));
            tags = tags.Where(t => !isHeld && !RunState.AtRest.Contains(t.State));
        }
        else if (filter.Status is { } status)
        {
            string state = RunState.StateOf(status);
            (runs, tags) = (runs.Where(r => r.CurrentState == state), tags.Where(t => t.State == state));
        }
        if (filter.Name is { } name) runs = runs.Where(r => r.Name == name);
        if (filter.From is { } from) runs = runs.Where(r => r.SubmittedAt >= from.ToUniversalTime());
        if (filter.To is { } to) runs = runs.Where(r => r.SubmittedAt <= to.ToUniversalTime());
        if (filter.Q is { } q) runs = Holding(runs, q);
        if (filter.Where is { } where) runs = runs.Where(Language(db).Parse(where));
        // the first part is the index's
        if (PageEnd.Parse(filter.Cursor) is { } end)
            runs = runs.Where(r => r.SubmittedAt <= end.At && (r.SubmittedAt < end.At || r.CorrelationId.CompareTo(end.Id) < 0));
        int limit = Math.Clamp(filter.Limit, 1, LargestPage);
        List<RunState> page = filter.Tag is not null
            ? await tags.Join(runs, t => t.RunId, r => r.CorrelationId, (t, r) => new { t.SubmittedAt, Run = r })
                .OrderByDescending(x => x.SubmittedAt)
                .ThenByDescending(x => x.Run.CorrelationId)
                .Select(x => x.Run)
                .Take(limit)
                .ToListAsync(cancel)
            : await runs.OrderByDescending(r => r.SubmittedAt).ThenByDescending(r => r.CorrelationId).Take(limit).ToListAsync(cancel);
        return new RunPage(await Documents(db, page, cancel), page.Count == limit
            ? new PageEnd(page[^1].SubmittedAt, page[^1].CorrelationId).ToString() : null);
    }

    /// <summary>Runs whose name, error or id holds a text.</summary>
    private static IQueryable<RunState> Holding(IQueryable<RunState> runs, string q)
    {
        string text = $"%{q.ToLowerInvariant().Replace(@"\", @"\\").Replace("%", @"\%").Replace("_", @"\_")}%";
        return runs.Where(r => EF.Functions.Like(r.Name.ToLower(), text, @"\")
            || EF.Functions.Like(r.Error!.ToLower(), text, @"\")
            || EF.Functions.Like(r.CorrelationId.ToString().ToLower(), text, @"\"));
    }

    /// <summary>Runs as they are shown, each with the event that vouches for it.</summary>
    private async Task<IReadOnlyList<RunDocument>> Documents(ArmoFlowDbContext db, IReadOnlyList<RunState> runs, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        IReadOnlyList<RowProof> proofs = await RowProofs.Of<RunState>(db, [.. runs.Select(r => new object[] { r.CorrelationId })], cancel);
        List<RunDocument> documents = [];
        foreach ((RunState run, RowProof proof) in runs.Zip(proofs))
        {
            RunDocument document = IsInterrupted(run) ? await ToInterrupted(db, run, cancel) : run.ToDocument(artifacts.LocationOf, now);
            documents.Add(document with { ProvedBy = proof.ProvedBy, Disagrees = proof.Disagrees });
        }
        return documents;
    }

    private static FilterLanguage<RunState> Language(ArmoFlowDbContext db) => new(new Dictionary<string, LambdaExpression>
    {
        ["id"] = (Expression<Func<RunState, Guid>>)(r => r.CorrelationId),
        ["name"] = (Expression<Func<RunState, string>>)(r => r.Name),
        ["spec"] = (Expression<Func<RunState, string>>)(r => r.SpecDigest),
        ["error"] = (Expression<Func<RunState, string?>>)(r => r.Error),
        ["submitted"] = (Expression<Func<RunState, DateTimeOffset>>)(r => r.SubmittedAt),
        ["trigger"] = (Expression<Func<RunState, string?>>)(r => r.Trigger),
        ["score"] = (Expression<Func<RunState, double?>>)(r => r.Score),
        ["heldout"] = (Expression<Func<RunState, double?>>)(r => r.HeldOutAccuracy),
        ["ended"] = (Expression<Func<RunState, DateTimeOffset?>>)(r => r.EndedAt),
        ["status"] = (Expression<Func<RunState, string, bool>>)((r, value) =>
            r.CurrentState == (value == nameof(RunStatus.Submitted) ? RunState.Submitted : value)),
        ["tag"] =
            (Expression<Func<RunState, string, bool>>)((r, value) => db.RunTags.Any(t => t.RunId == r.CorrelationId && t.Tag == value)),
    });

    private bool IsInterrupted(RunState run) =>
        workspace is not null && !RunState.AtRest.Contains(run.CurrentState) && !workspace.IsHeld();

    /// <summary>Its seconds end with the last heartbeat, log or step that the database has.</summary>
    private async Task<RunDocument> ToInterrupted(ArmoFlowDbContext db, RunState run, CancellationToken cancel)
    {
        DateTimeOffset? seen = await db.Workers.MaxAsync(w => (DateTimeOffset?)w.SeenAt, cancel);
        DateTimeOffset? logged = await db.StepLogs.Where(l => l.RunId == run.CorrelationId)
            .MaxAsync(l => l.EndedAt ?? (DateTimeOffset?)l.StartedAt, cancel);
        DateTimeOffset begun = run.Steps.Max(s => s.EndedAt ?? s.StartedAt) ?? run.SubmittedAt;
        DateTimeOffset lastSign = new[] { seen, logged, begun }.Max()!.Value;
        RunDocument document = run.ToDocument(artifacts.LocationOf, lastSign);
        string until = $"until {lastSign.UtcDateTime:yyyy-MM-dd HH:mm:ss}Z";
        return document with { Status = RunStatus.Interrupted, Steps = [.. document.Steps.Select(Stopped)] };

        StepDocument Stopped(StepDocument step) =>
            step.Status == StepStatus.Running ? step with { Status = StepStatus.Interrupted, Detail = until } : step;
    }

    /// <summary>What a step in progress waits for, where no worker holds it: status follows leases, not hopes.</summary>
    private async Task TellWhoWorks(ArmoFlowDbContext db, RunState run, CancellationToken cancel)
    {
        if (run.Steps.Find(s => s.Status == StepStatus.Running) is not { } step
            || time.GetUtcNow() - step.StartedAt < Patience
            || await db.WorkLeases.AnyAsync(l => l.RunId == run.CorrelationId, cancel))
            return;
        if (await StepClaims.WaitsFor(db, run.CorrelationId, cancel) is { } other)
        {
            step.Detail = $"waits for run {other}, which does the same work";
            return;
        }
        string served =
            (await db.Workers.AsNoTracking().ToListAsync(cancel)).Any(w => w.Serves(step.Name)) ? "waits for a worker to be free"
                : $"waits: no worker serves '{step.Name}'. Start one with: armoflow worker --steps {step.Name}";
        if (step.Losses > 0) step.Status = StepStatus.Lost;
        step.Detail = step.Losses > 0 ? $"{step.Detail}; {served}" : served;
    }

    /// <summary>Where a page ended.</summary>
    private sealed record PageEnd(DateTimeOffset At, Guid Id)
    {
        private const int Longest = 64;

        public override string ToString() => $"{At.UtcTicks}-{Id:N}";

        /// <exception cref="FilterException">No page ended so.</exception>
        public static PageEnd? Parse(string? text)
        {
            if (string.IsNullOrEmpty(text)) return null;
            string[] parts = text.Length <= Longest ? text.Split('-') : [];
            long at = 0;
            Guid guid = default;
            bool isOne = parts.Length == 2
                && long.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out at)
                && at <= DateTimeOffset.MaxValue.UtcTicks
                && Guid.TryParse(parts[1], out guid);
            return isOne ? new PageEnd(new DateTimeOffset(at, TimeSpan.Zero), guid)
                : throw new FilterException(
                    $"cursor '{StoredText.Excerpt(text)}': expected one that a page ended with. Leave it out for the newest runs.");
        }
    }
}
