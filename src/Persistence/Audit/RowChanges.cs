using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.ChangeTracking;

namespace ArmoFlow.Persistence.Audit;

/// <summary>
/// The audited rows that a save changes. Each is read back before the change and after it, in the transaction of the change: what
/// an event vouches for is what the database holds, and what it held before must be what the event before vouched for.
/// </summary>
internal sealed class RowChanges
{
    private readonly ArmoFlowDbContext _db;
    private readonly List<(AuditedTable Table, EntityEntry Entry)> _kept = [];
    private readonly List<RowAddress> _changed = [], _met = [];
    private readonly Dictionary<(string Table, string Key), string> _before = [];
    private readonly HashSet<(string Table, string Key)> _removed = [];

    private RowChanges(ArmoFlowDbContext db) => _db = db;

    public bool IsEmpty => _kept.Count == 0 && _changed.Count == 0 && _met.Count == 0;

    /// <summary>What is to be saved; its changes were detected.</summary>
    public static RowChanges Of(ArmoFlowDbContext db)
    {
        RowChanges changes = new(db);
        AuditedTables tables = AuditedTables.Of(db);
        foreach (EntityEntry entry in db.ChangeTracker.Entries())
        {
            bool isChanged = entry.State is EntityState.Added or EntityState.Modified or EntityState.Deleted;
            if (isChanged && tables.Find(entry.Metadata.ClrType) is { } table) changes.Add(table, entry);
            if (isChanged && entry.Entity is RunState run) changes.Meet(tables, run, entry);
        }
        return changes;
    }

    private void Add(AuditedTable table, EntityEntry entry)
    {
        bool isAdded = entry.State == EntityState.Added;
        if (isAdded && table.IsBoundByRuns) return;
        bool isVisible = entry.State != EntityState.Modified || table.Columns.Any(c => entry.Property(c.Property.Name).IsModified);
        if (!isVisible) return;
        if (entry.State != EntityState.Deleted) _kept.Add((table, entry));
        bool isNew = isAdded || _db.TakeNew(entry.Entity);
        if (!isNew) _changed.Add(new RowAddress(table, [.. table.Key.Select(c => entry.OriginalValues[c.Property.Name])]));
    }

    /// <summary>
    /// The steps that a run comes to rest on: their rows were entered by a worker, and are bound with the run that records them.
    /// </summary>
    private void Meet(AuditedTables tables, RunState run, EntityEntry entry)
    {
        HashSet<string?> known = entry.State == EntityState.Added ? []
            : [.. ((List<RunStep>)entry.OriginalValues[nameof(RunState.Steps)]!).Select(s => s.Key)];
        foreach (string key in run.Steps.Select(s => s.Key).OfType<string>().Where(k => !known.Contains(k)))
        {
            _met.Add(new RowAddress(tables.Find(typeof(StepResult))!, [key]));
            _met.Add(new RowAddress(tables.Find(typeof(StepArtifact))!, [key]));
        }
    }

    /// <summary>Locks the rows that are changed, and takes down what they are.</summary>
    public async Task ReadBefore(CancellationToken cancel)
    {
        foreach (RowValues row in await RowReader.Read(_db, _changed, "for update", cancel))
        {
            _before[(row.Table, row.Key)] = row.Digest()[..BoundRow.BeforeLength];
            _removed.Add((row.Table, row.Key));
        }
    }

    /// <summary>What became of the rows, once they are saved.</summary>
    public async Task<IReadOnlyList<BoundRow>> ReadAfter(CancellationToken cancel)
    {
        List<RowAddress> saved = [.. _kept.Select(k => new RowAddress(k.Table,
            [.. k.Table.Key.Select(c => k.Entry.CurrentValues[c.Property.Name])]))];
        List<BoundRow> bound = [];
        foreach (RowValues row in await RowReader.Read(_db, [.. saved, .. _met], _met.Count > 0 ? "for key share" : null, cancel))
        {
            bool isMet = _met.Exists(m => m.Table.Name == row.Table);
            string? before = isMet ? BoundRow.Seen : _before.GetValueOrDefault((row.Table, row.Key));
            bound.Add(new BoundRow(row.Table, row.Key, before, row.Digest(), row.Marks()));
            _removed.Remove((row.Table, row.Key));
        }
        return [.. _removed.Select(r => new BoundRow(r.Table, r.Key, _before[r], null, null)), .. bound];
    }
}
