using System.Globalization;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Alerts;

/// <summary>Evaluations of stored models, the alerts that they raise, and the alerts' way to who is to know.</summary>
public sealed class AlertStore(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    private static readonly TimeSpan Claim = TimeSpan.FromMinutes(1), FirstPause = TimeSpan.FromSeconds(5),
        LongestPause = TimeSpan.FromHours(1);

    /// <summary>How long an alert is tried to be delivered.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromDays(3);

    /// <summary>How often, at most: a little more than the pauses leave room for.</summary>
    public const int MostAttempts = 100;

    /// <summary>
    /// Enters that a run which evaluates a stored model has ended, in the transaction that ends it; what it found is judged
    /// afterwards.
    /// </summary>
    public static async Task Open(ArmoFlowDbContext db, RunState run, DateTimeOffset now, CancellationToken cancel)
    {
        if (run.Status == RunStatus.Cancelled) return;
        string[] model = run.Spec.Model!.Split('@');
        // of a run that had failed before
        ModelEvaluation? evaluation = await db.ModelEvaluations.SingleOrDefaultAsync(e => e.RunId == run.CorrelationId, cancel);
        if (evaluation is null)
        {
            db.ModelEvaluations.Add(evaluation = new ModelEvaluation
            {
                RunId = run.CorrelationId,
                Model = model[0],
                Version = int.Parse(model[1], CultureInfo.InvariantCulture)
            });
        }
        evaluation.At = now;
        evaluation.Holds = null;
        evaluation.Error = run.Error;
    }

    /// <summary>Evaluations that nobody has held against their gates yet.</summary>
    public async Task<IReadOnlyList<Guid>> Pending(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ModelEvaluations.Where(e => e.Holds == null).OrderBy(e => e.At).Select(e => e.RunId).ToListAsync(cancel);
    }

    /// <summary>The evaluation that a run made.</summary>
    public async Task<ModelEvaluation> Evaluation(Guid run, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ModelEvaluations.AsNoTracking().SingleAsync(e => e.RunId == run, cancel);
    }

    /// <summary>Enters the verdict on an evaluation, once, and an alert if it does not hold.</summary>
    public async Task Judge(ModelEvaluation judged, string? webhook, string text, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        // Claimed by a condition on the row: of two orchestrators that judge the same, one enters it.
        IQueryable<ModelEvaluation> open = db.ModelEvaluations.Where(e => e.RunId == judged.RunId && e.Holds == null);
        bool isClaimed = await open.ExecuteUpdateAsync(set => set.SetProperty(e => e.Holds, e => e.Holds), cancel) == 1;
        if (!isClaimed) return;
        ModelEvaluation row = await open.SingleAsync(cancel);
        row.Holds = judged.Holds;
        row.Verdicts = judged.Verdicts;
        row.Score = judged.Score;
        row.HeldOutAccuracy = judged.HeldOutAccuracy;
        string subject = $"model/{judged.Model}";
        db.Note("model.evaluated", subject,
            after: new { version = judged.Version, run = judged.RunId, judged.Score, judged.HeldOutAccuracy, judged.Holds });
        if (judged.Holds == false)
        {
            Alert alert = new() { RunId = judged.RunId, Model = judged.Model, Version = judged.Version, Text = text, Webhook = webhook };
            db.Raise(alert, time.GetUtcNow());
        }
        await db.SaveChangesAsync(cancel);
        await transaction.CommitAsync(cancel);
    }

    /// <summary>A model's evaluations, newest first.</summary>
    public async Task<IReadOnlyList<ModelEvaluation>> Evaluations(string model, int limit, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.ModelEvaluations.AsNoTracking()
            .Where(e => e.Model == model)
            .OrderByDescending(e => e.At)
            .Take(limit)
            .ToListAsync(cancel);
    }

    /// <summary>
    /// A model's alerts, newest first, for showing: of a webhook scheme and host alone, since the rest is what lets one post there.
    /// </summary>
    public async Task<IReadOnlyList<Alert>> Alerts(string model, int limit, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<Alert> newest = db.Alerts.AsNoTracking().Where(a => a.Model == model).OrderByDescending(a => a.Id);
        List<Alert> alerts = await newest.Take(limit).ToListAsync(cancel);
        foreach (Alert alert in alerts) alert.Webhook = Secrets.HostOf(alert.Webhook);
        return alerts;
    }

    /// <summary>
    /// Webhooks that something is due for; first those that have had the fewest attempts, which are the likeliest to answer.
    /// </summary>
    public async Task<IReadOnlyList<string>> DueWebhooks(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        var webhooks = Due(db, time.GetUtcNow()).GroupBy(a => a.Webhook!)
            .Select(g => new { Webhook = g.Key, Attempts = g.Min(a => a.Attempts) });
        var due = await webhooks.ToListAsync(cancel);
        return [.. due.OrderBy(d => d.Attempts).Select(d => d.Webhook)];
    }

    /// <summary>A webhook's alert whose time has come, kept from other orchestrators for a minute; null if there is none.</summary>
    public async Task<Alert?> TakeDue(string webhook, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow(), until = now + Claim;
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Alert? due = await Due(db, now).Where(a => a.Webhook == webhook).OrderBy(a => a.NextAttemptAt).FirstOrDefaultAsync(cancel);
        if (due is null) return null;
        // Claimed by a condition on the row: of two orchestrators that see it due, one has it.
        IQueryable<Alert> unclaimed = db.Alerts.Where(a => a.Id == due.Id && a.NextAttemptAt == due.NextAttemptAt);
        return await unclaimed.ExecuteUpdateAsync(set => set.SetProperty(a => a.NextAttemptAt, until), cancel) == 1 ? due : null;
    }

    private static IQueryable<Alert> Due(ArmoFlowDbContext db, DateTimeOffset now)
    {
        DateTimeOffset latest = now + LongestPause + Plausible.Tolerance; // later than that only a clock that was ahead has entered
        IQueryable<Alert> open = db.Alerts.AsNoTracking().Where(a => a.Webhook != null && a.NextAttemptAt != null);
        return open.Where(a => a.NextAttemptAt <= now || a.NextAttemptAt > latest);
    }

    /// <summary>When the next alert will be due that is not due yet; null if there is none.</summary>
    public async Task<DateTimeOffset?> NextDue(CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Alerts.Where(a => a.NextAttemptAt != null && a.NextAttemptAt > now).MinAsync(a => a.NextAttemptAt, cancel);
    }

    /// <summary>
    /// Enters that an alert has arrived (no error), once, or why not; it is tried again, ever more seldom, for three days or a hundred
    /// times.
    /// </summary>
    public async Task Settle(Alert taken, string? error, CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        Alert alert = await db.Alerts.SingleAsync(a => a.Id == taken.Id, cancel);
        if (alert.DeliveredAt is not null) return; // somebody else's post, after this one's claim had ended, has been entered
        alert.Attempts++;
        if (Plausible.IsAhead(alert.RaisedAt, now))
        {
            db.Note("clock.mended", $"model/{alert.Model}", new { alert = alert.Id, raisedAt = alert.RaisedAt }, new { raisedAt = now });
            alert.RaisedAt = now; // its patience ends some day
        }
        alert.LastError = error;
        bool isGivenUp = now - alert.RaisedAt > Patience || alert.Attempts >= MostAttempts;
        TimeSpan pause = FirstPause * Math.Pow(2, Math.Min(alert.Attempts - 1, 10));
        if (error is null)
        {
            alert.DeliveredAt = now;
            alert.NextAttemptAt = null;
        }
        else alert.NextAttemptAt = isGivenUp ? null : now + (pause < LongestPause ? pause : LongestPause);
        if (alert.NextAttemptAt is null)
        {
            db.Note(error is null ? "alert.delivered" : "alert.given-up", $"model/{alert.Model}",
                after: new { run = alert.RunId, attempts = alert.Attempts, error });
        }
        await db.SaveChangesAsync(cancel);
    }
}

internal static class Alerts
{
    /// <summary>Enters an alert, due at once where somebody is to be told.</summary>
    public static void Raise(this ArmoFlowDbContext db, Alert alert, DateTimeOffset now)
    {
        alert.RaisedAt = now;
        alert.NextAttemptAt = alert.Webhook is null ? null : now;
        db.Alerts.Add(alert);
        db.Note("alert.raised", $"model/{alert.Model}", after: new { version = alert.Version, run = alert.RunId, alert.Text });
    }
}
