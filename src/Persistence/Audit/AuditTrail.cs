using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Runs;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;
using Microsoft.EntityFrameworkCore.Infrastructure;

namespace ArmoFlow.Persistence.Audit;

/// <summary>Writes events in the transaction of the change that they tell of.</summary>
public static class AuditTrail
{
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    /// <summary>The action of an event that tells of nothing but the rows that it vouches for.</summary>
    public const string RowsBound = "rows.bound";

    /// <summary>Notes what is done; saved, and bound to the event before it, with the next save.</summary>
    public static void Note(this ArmoFlowDbContext db, string action, string subject, object? before = null, object? after = null)
    {
        AuditEvent noted = New(db, action, subject, before, after);
        noted.Sequence = -1 - db.AuditEvents.Local.Count; // until it is bound
        db.AuditEvents.Add(noted);
    }

    /// <summary>An event of now, by whoever asks.</summary>
    internal static AuditEvent New(ArmoFlowDbContext db, string action, string subject, object? before = null, object? after = null) =>
        new()
        {
            At = Now(db),
            Actor = StoredText.Clean(Caller.Current.Name),
            Action = action,
            Subject = StoredText.Clean(subject),
            Before = before is null ? null : JsonSerializer.Serialize(before, Json),
            After = after is null ? null : JsonSerializer.Serialize(after, Json),
            RequestId = Caller.Current.RequestId is { } request ? StoredText.Clean(request) : null,
        };

    /// <summary>Lets the first event of a save vouch for its rows; an event of their own where there is none.</summary>
    internal static IReadOnlyList<AuditEvent> Attach(ArmoFlowDbContext db, IReadOnlyList<AuditEvent> events, IReadOnlyList<BoundRow> rows)
    {
        if (rows.Count == 0) return events;
        if (events.Count == 0) events = [New(db, RowsBound, $"table/{rows[0].Table}")];
        events[0].Rows = BoundRow.Write(rows);
        return events;
    }

    /// <summary>Takes the events out of what is to be saved, with those that tell of changed states of runs.</summary>
    internal static IReadOnlyList<AuditEvent> Take(ArmoFlowDbContext db)
    {
        foreach (EntityEntry<RunState> run in db.ChangeTracker.Entries<RunState>()
            .Where(r => r.State is EntityState.Modified or EntityState.Added)
            .ToList())
            NoteState(db, run);
        List<EntityEntry<AuditEvent>> noted = [.. db.ChangeTracker.Entries<AuditEvent>().Where(e => e.State == EntityState.Added)];
        foreach (EntityEntry<AuditEvent> e in noted) e.State = EntityState.Detached;
        return [.. noted.Select(e => e.Entity).OrderByDescending(e => e.Sequence)]; // numbered downwards until bound
    }

    private static void NoteState(ArmoFlowDbContext db, EntityEntry<RunState> run)
    {
        string subject = $"run/{run.Entity.CorrelationId}";
        if (run.State == EntityState.Added)
        {
            db.Note("run.submitted", subject,
                after: new { name = run.Entity.Name, spec = run.Entity.SpecDigest, tags = run.Entity.Tags, trigger = run.Entity.Trigger });
            return;
        }
        string before = (string)run.OriginalValues[nameof(RunState.CurrentState)]!;
        if (before != run.Entity.CurrentState)
            db.Note("run.state", subject, new { state = before }, new { state = run.Entity.CurrentState, error = run.Entity.Error });
    }

    /// <summary>Binds events to the trail's head, whose row stays locked until the transaction ends: the last lock that it takes.</summary>
    internal static Task Bind(ArmoFlowDbContext db, IReadOnlyList<AuditEvent> events, CancellationToken cancel) =>
        db.Database.IsNpgsql() ? BindByStatement(db, events, cancel) : BindByRows(db, events, cancel);

    /// <summary>All transactions wait for one another from here on: each event is bound, hash included, in one round trip.</summary>
    private static async Task BindByStatement(ArmoFlowDbContext db, IReadOnlyList<AuditEvent> events, CancellationToken cancel)
    {
        foreach (AuditEvent e in events)
        {
            long[] addresses = AddressesOf(e);
            await db.Database.ExecuteSqlAsync($"""
                with head as (select id, sequence + 1 as sequence, hash as previous_hash from audit_heads for update),
                bound as (
                    select *, encode(sha256(convert_to(
                        '["' || sequence || '",' || {e.Told()}::text || ',"' || previous_hash || '"]', 'UTF8')), 'hex') as hash
                    from head),
                written as (
                    insert into audit_events (sequence, at, actor, action, subject, before, after, request_id, rows, previous_hash, hash)
                    select sequence, {e.At}, {e.Actor}::text, {e.Action}::text, {e.Subject}::text, {e.Before}::text, {e.After}::text,
                        {e.RequestId}::text, {e.Rows}::text, previous_hash, hash from bound),
                indexed as (insert into audit_rows (row, sequence) select unnest({addresses}::bigint[]), sequence from bound)
                update audit_heads set sequence = bound.sequence, hash = bound.hash from bound where audit_heads.id = bound.id
                """, cancel);
        }
    }

    private static async Task BindByRows(ArmoFlowDbContext db, IReadOnlyList<AuditEvent> events, CancellationToken cancel)
    {
        AuditHead head = await db.AuditHeads.AsNoTracking().SingleAsync(cancel);
        foreach (AuditEvent e in events)
        {
            e.Sequence = head.Sequence + 1;
            e.PreviousHash = head.Hash;
            e.Hash = e.ComputeHash();
            head.Sequence = e.Sequence;
            head.Hash = e.Hash;
            db.AuditEvents.Add(e);
            db.AuditRows.AddRange(AddressesOf(e).Select(address => new AuditRow { Row = address, Sequence = e.Sequence }));
        }
        db.AuditHeads.Update(head);
        await db.SaveBound(cancel);
        db.Entry(head).State = EntityState.Detached; // the next to bind reads it anew
    }

    private static long[] AddressesOf(AuditEvent e) => [.. BoundRow.Read(e.Rows).Select(r => r.Address).Distinct()];

    private static DateTimeOffset Now(ArmoFlowDbContext db)
    {
        long ticks = db.GetService<TimeProvider>().GetUtcNow().UtcTicks;
        return new DateTimeOffset(ticks - (ticks % TimeSpan.TicksPerMicrosecond), TimeSpan.Zero); // Postgres keeps no finer time
    }
}
