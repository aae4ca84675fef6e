using System.Linq.Expressions;
using System.Runtime.CompilerServices;
using System.Text.Json;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Filters;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Storage;

namespace ArmoFlow.Persistence.Audit;

/// <summary>The audit trail: asked, followed from end to end, written out.</summary>
public sealed class AuditStore(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    private const int LargestPage = 1000;

    public static FilterLanguage<AuditEvent> Language { get; } = new(new Dictionary<string, LambdaExpression>
    {
        ["sequence"] = (Expression<Func<AuditEvent, long>>)(e => e.Sequence),
        ["at"] = (Expression<Func<AuditEvent, DateTimeOffset>>)(e => e.At),
        ["actor"] = (Expression<Func<AuditEvent, string>>)(e => e.Actor),
        ["action"] = (Expression<Func<AuditEvent, string>>)(e => e.Action),
        ["subject"] = (Expression<Func<AuditEvent, string>>)(e => e.Subject),
        ["request"] = (Expression<Func<AuditEvent, string?>>)(e => e.RequestId),
    });

    /// <summary>Events that a filter lets through, newest first.</summary>
    /// <param name="where">Of <see cref="Language"/>; null for all.</param>
    /// <param name="cursor">Where the page before ended.</param>
    /// <param name="limit">How many at most.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="FilterException">The filter or the cursor is none.</exception>
    public async Task<AuditPage> Query(string? where, string? cursor, int limit, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        IQueryable<AuditEvent> events = db.AuditEvents.AsNoTracking();
        if (where is not null) events = events.Where(Language.Parse(where));
        if (cursor is not null)
        {
            if (!long.TryParse(cursor, out long before))
                throw new FilterException($"cursor '{cursor}': expected one that a page ended with.");
            events = events.Where(e => e.Sequence < before);
        }
        int most = Math.Clamp(limit, 1, LargestPage);
        List<AuditEvent> page = await events.OrderByDescending(e => e.Sequence).Take(most).ToListAsync(cancel);
        return new AuditPage([.. page.Select(e => e.ToDocument())], page.Count == most ? $"{page[^1].Sequence}" : null);
    }

    /// <summary>Follows the whole trail to its head, and holds every row that it vouches for against it.</summary>
    /// <param name="cancel">Gives up.</param>
    /// <param name="progress">Told now and then how far it has come; null for nobody.</param>
    public async Task<AuditVerdict> Verify(CancellationToken cancel, IProgress<AuditProgress>? progress = null)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction snapshot = await Snapshot(db, cancel);
        AuditHead? head = await db.AuditHeads.AsNoTracking().SingleOrDefaultAsync(cancel);
        if (head is null) return new AuditVerdict(0, false, 1, "the head's row is missing", 0, AuditHead.Start);
        RowLedger ledger = new();
        AuditVerdict verdict = await AuditVerification.Follow(All(db), head, [], ledger, long.MaxValue, progress, cancel);
        return verdict.IsWhole ? await AuditVerification.Compare(verdict, ledger, AllRows(db, cancel), isPart: false, EventsOf, progress,
            cancel) : verdict;

        Task<Dictionary<long, AuditEvent>> EventsOf(IReadOnlySet<long> wanted) =>
            db.AuditEvents.AsNoTracking().Where(e => wanted.Contains(e.Sequence)).ToDictionaryAsync(e => e.Sequence, cancel);
    }

    /// <summary>Takes rows into the trail that were there before events vouched for them; does nothing after the first time.</summary>
    public async Task Adopt(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await AuditAdoption.Ensure(db, cancel);
    }

    /// <summary>True where the trail still holds the event that was its end then.</summary>
    public async Task<bool> Holds(SignedHead head, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return head.Sequence == 0 || await db.AuditEvents.AnyAsync(e => e.Sequence == head.Sequence && e.Hash == head.Hash, cancel);
    }

    public async Task<SignedHead> Head(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        AuditHead head = await db.AuditHeads.AsNoTracking().SingleAsync(cancel);
        return new SignedHead(head.Sequence, head.Hash, time.GetUtcNow());
    }

    /// <summary>Writes all events, one JSON document a line or as a Parquet table, and returns the head that they end with.</summary>
    /// <param name="target">Where the events go.</param>
    /// <param name="asParquet">True for a table.</param>
    /// <param name="cancel">Gives up.</param>
    /// <param name="rows">Where the audited rows go, as of the same moment; null for nowhere. It may be where the events go, as JSON
    /// lines.</param>
    /// <param name="rowsAsParquet">True for a table of rows.</param>
    /// <param name="which">The rows that are wanted; null for all.</param>
    public async Task<SignedHead> Export(Stream target, bool asParquet, CancellationToken cancel, Stream? rows = null,
        bool rowsAsParquet = false, Func<RowValues, bool>? which = null)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await using IDbContextTransaction snapshot = await Snapshot(db, cancel);
        AuditHead head = await db.AuditHeads.AsNoTracking().SingleAsync(cancel);
        SignedHead end = new(head.Sequence, head.Hash, time.GetUtcNow());
        if (asParquet) await AuditParquet.Write(target, All(db), cancel);
        else await WriteLines(target, All(db), cancel);
        if (rows is null) return end;
        RowsHeading heading = new(end.Sequence, end.Hash, end.At, IsPart: which is not null);
        await AuditRows.Write(rows, heading, AllRows(db, cancel).Where(r => which is null || which(r)), rowsAsParquet, cancel);
        return end;
    }

    private static async Task WriteLines(Stream target, IAsyncEnumerable<AuditEvent> events, CancellationToken cancel)
    {
        await foreach (AuditEvent e in events.WithCancellation(cancel))
        {
            await JsonSerializer.SerializeAsync(target, e, JsonSerializerOptions.Web, cancel);
            await target.WriteAsync("\n"u8.ToArray(), cancel);
        }
    }

    /// <summary>The events of an export, which needs no server and no database.</summary>
    /// <exception cref="JsonException">A line is no event.</exception>
    public static IAsyncEnumerable<AuditEvent> ReadExport(string path) =>
        AuditParquet.IsParquet(path) ? AuditParquet.Read(path) : ReadLines(path);

    private static async IAsyncEnumerable<AuditEvent> ReadLines(string path)
    {
        await foreach (string line in File.ReadLinesAsync(path))
        {
            if (AuditRows.IsRow(line)) continue; // rows may follow in the same file
            yield return JsonSerializer.Deserialize<AuditEvent>(line, JsonSerializerOptions.Web)
                ?? throw new JsonException("a line is null");
        }
    }

    private static IAsyncEnumerable<AuditEvent> All(ArmoFlowDbContext db) =>
        db.AuditEvents.AsNoTracking().OrderBy(e => e.Sequence).AsAsyncEnumerable();

    private static async IAsyncEnumerable<RowValues> AllRows(ArmoFlowDbContext db, [EnumeratorCancellation] CancellationToken cancel)
    {
        foreach (AuditedTable table in AuditedTables.Of(db).All)
            await foreach (RowValues row in RowReader.All(db, table, cancel)) yield return row;
    }

    /// <summary>Head and events as of one moment, though others go on writing.</summary>
    private static async Task<IDbContextTransaction> Snapshot(ArmoFlowDbContext db, CancellationToken cancel)
    {
        if (db.Database.IsNpgsql()) return await db.Database.BeginTransactionAsync(System.Data.IsolationLevel.RepeatableRead, cancel);
        await db.Database.OpenConnectionAsync(cancel);
        // it reads alone, and holds up no writer
        return (await db.Database.UseTransactionAsync(((SqliteConnection)db.Database.GetDbConnection()).BeginTransaction(deferred: true),
            cancel))!;
    }
}
