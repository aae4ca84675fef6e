using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Audit;

/// <summary>
/// Takes rows into the trail that were there before events vouched for rows, once; and when a table has got new columns, binds
/// again, with these, the rows that still are what the trail says. A row that is not stays as it was bound, to be found.
/// </summary>
internal sealed class AuditAdoption
{
    private const int RowsPerEvent = 500;
    private readonly ArmoFlowDbContext _db;
    private readonly AuditedTables _tables;
    private readonly RowLedger _ledger = new();
    private Dictionary<string, IReadOnlyList<string>> _known = [];

    private AuditAdoption(ArmoFlowDbContext db)
    {
        _db = db;
        _tables = AuditedTables.Of(db);
    }

    /// <summary>Does nothing where the trail knows all tables and columns, which it does after the first time.</summary>
    public static async Task Ensure(ArmoFlowDbContext db, CancellationToken cancel)
    {
        AuditAdoption adoption = new(db);
        if (await adoption.IsUpToDate(cancel)) return;
        await using IDbContextTransaction transaction = await db.Database.BeginTransactionAsync(cancel);
        // Nothing that is bound goes on until this is: what is read here is what was bound last.
        if (db.Database.IsNpgsql()) await db.Database.ExecuteSqlRawAsync("select 1 from audit_heads for update", cancel);
        if (await adoption.IsUpToDate(cancel)) return;
        await adoption.Adopt(cancel);
        await transaction.CommitAsync(cancel);
    }

    private async Task<bool> IsUpToDate(CancellationToken cancel)
    {
        AuditEvent? newest = await _db.AuditEvents.AsNoTracking().Where(e => e.Action == RowLedger.Adopted
            && e.Subject == RowLedger.LayoutSubject)
            .OrderByDescending(e => e.Sequence).FirstOrDefaultAsync(cancel);
        _known = newest is null ? [] : RowLedger.LayoutsOf(newest);
        return _tables.All.All(IsKnown);
    }

    private bool IsKnown(AuditedTable table) => _known.TryGetValue(table.Name, out IReadOnlyList<string>? columns)
        && AuditedTable.LayoutOf(columns) == table.Layout;

    private async Task Adopt(CancellationToken cancel)
    {
        await foreach (AuditEvent e in _db.AuditEvents.AsNoTracking().Where(e => e.Rows != null || e.Action == RowLedger.Adopted)
            .OrderBy(e => e.Sequence).AsAsyncEnumerable().WithCancellation(cancel)) _ledger.Take(e);
        Dictionary<string, IReadOnlyList<string>> layouts = _tables.All.ToDictionary(t => t.Name, t => t.ColumnNames);
        List<AuditEvent> events = [AuditTrail.New(_db, RowLedger.Adopted, RowLedger.LayoutSubject, after: new { tables = layouts })];
        foreach (AuditedTable table in _tables.All.Where(t => !IsKnown(t)))
        {
            List<BoundRow> rows = [];
            await foreach (RowValues row in RowReader.All(_db, table, cancel))
                if (Bind(table, row) is { } bound) rows.Add(bound);
            events.AddRange(rows.Chunk(RowsPerEvent).Select(chunk => Event(table, chunk)));
        }
        await AuditTrail.Bind(_db, events, cancel);
    }

    private AuditEvent Event(AuditedTable table, BoundRow[] rows)
    {
        AuditEvent e = AuditTrail.New(_db, RowLedger.Adopted, $"table/{table.Name}", after: new { rows = rows.Length });
        e.Rows = BoundRow.Write(rows);
        return e;
    }

    /// <summary>
    /// Null for a row that is not to be bound: it is already, or it is not what it was bound as, or it came past the trail.
    /// </summary>
    private BoundRow? Bind(AuditedTable table, RowValues row)
    {
        (long Event, bool Agrees)? known = _ledger.Find(row, out RowValues? asBound);
        if (known is null)
        {
            return _known.ContainsKey(table.Name) ? null
            : new BoundRow(row.Table, row.Key, null, row.Digest(), row.Marks());
        }
        bool isOfOtherColumns = known.Value.Agrees && asBound!.Columns.Count != row.Columns.Count;
        return isOfOtherColumns ? new BoundRow(row.Table, row.Key, asBound!.Digest()[..BoundRow.BeforeLength], row.Digest(), row.Marks())
            : null;
    }
}
