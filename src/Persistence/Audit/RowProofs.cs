using System.Globalization;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Audit;

/// <summary>What vouches for a row that an answer rests on.</summary>
/// <param name="ProvedBy">The event that the row agrees with; null where it agrees with none.</param>
/// <param name="Disagrees">Why not, as a sentence's part; null where it does.</param>
public sealed record RowProof(long? ProvedBy, string? Disagrees)
{
    public static RowProof None { get; } = new(null, "no event vouches for it");

    /// <summary>Of several rows that one answer rests on: the newest event, and whatever disagrees.</summary>
    public static RowProof Of(IEnumerable<RowProof> proofs)
    {
        RowProof[] all = [.. proofs];
        string[] disagreeing = [.. all.Select(p => p.Disagrees).OfType<string>().Distinct()];
        if (all.Length == 0) return None;
        return disagreeing.Length > 0
            ? new RowProof(null, string.Join("; ", disagreeing))
            : new RowProof(all.Max(p => p.ProvedBy), null);
    }
}

/// <summary>
/// Looks up, for an answer, the event that vouches for each of its rows, and whether the row agrees with it. That the event is
/// itself as it was written is what <c>audit verify</c> proves.
/// </summary>
public static class RowProofs
{
    private const int AtOnce = 200;

    /// <summary>The proofs of rows, by the values of their keys.</summary>
    /// <param name="db">The database.</param>
    /// <param name="keys">Each row's key, or the first part of it for all rows that share that.</param>
    /// <param name="cancel">Gives up.</param>
    /// <typeparam name="T">The rows' type.</typeparam>
    /// <returns>In the order of the keys.</returns>
    public static async Task<IReadOnlyList<RowProof>> Of<T>(ArmoFlowDbContext db, IReadOnlyList<object[]> keys,
        CancellationToken cancel) where T : class
    {
        AuditedTable table = AuditedTables.Of(db).Find(typeof(T)) ?? throw new ArgumentException($"{typeof(T).Name} is not audited");
        List<RowProof> proofs = [];
        foreach (object[][] chunk in keys.Chunk(AtOnce)) proofs.AddRange(await Of(db, table, chunk, cancel));
        return proofs;
    }

    private static async Task<IEnumerable<RowProof>> Of(ArmoFlowDbContext db, AuditedTable table, object[][] keys,
        CancellationToken cancel)
    {
        List<RowValues> rows = await RowReader.Read(db, [.. keys.Select(k => new RowAddress(table, k))], null, cancel);
        Dictionary<long, AuditEvent> newest = await NewestEvents(db, rows, cancel);
        ILookup<string, RowProof> byKey = rows.ToLookup(r => r.Key, r =>
            Of(r, newest.GetValueOrDefault(BoundRow.AddressOf(r.Table, r.Key))));
        return keys.Select(key => RowProof.Of(key.Length == table.Key.Count ? byKey[KeyOf(db, key)] : Sharing(KeyOf(db, key))));

        IEnumerable<RowProof> Sharing(string part) => byKey.Where(g => g.Key.StartsWith($"{part[..^1]},", StringComparison.Ordinal))
            .SelectMany(g => g);
    }

    /// <summary>A key, or the first part of one, as the database's rows show it.</summary>
    private static string KeyOf(ArmoFlowDbContext db, object[] key) => $"[{string.Join(',', key.Select(part => part switch
    {
        Guid id => $"\"{(db.Database.IsNpgsql() ? $"{id}" : $"{id}".ToUpperInvariant())}\"",
        string text => RowReader.TextOf(text),
        IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
        _ => throw new ArgumentException($"a key of type {part.GetType().Name}"),
    }))}]";

    /// <summary>Each row's address → the newest event that vouches for it.</summary>
    private static async Task<Dictionary<long, AuditEvent>> NewestEvents(ArmoFlowDbContext db, List<RowValues> rows,
        CancellationToken cancel)
    {
        long[] addresses = [.. rows.Select(r => BoundRow.AddressOf(r.Table, r.Key)).Distinct()];
        var places = await db.AuditRows.Where(r => addresses.Contains(r.Row)).GroupBy(r => r.Row)
            .Select(g => new { g.Key, Sequence = g.Max(r => r.Sequence) }).ToListAsync(cancel);
        long[] sequences = [.. places.Select(p => p.Sequence).Distinct()];
        Dictionary<long, AuditEvent> events = await db.AuditEvents.AsNoTracking().Where(e => sequences.Contains(e.Sequence))
            .ToDictionaryAsync(e => e.Sequence, cancel);
        return places.Where(p => events.ContainsKey(p.Sequence)).ToDictionary(p => p.Key, p => events[p.Sequence]);
    }

    private static RowProof Of(RowValues row, AuditEvent? e)
    {
        if (e is null) return RowProof.None;
        BoundRow? bound = e.Hash != e.ComputeHash() ? null : BoundRow.Read(e.Rows)
            .LastOrDefault(b => b.Table == row.Table && b.Key == row.Key);
        if (bound is null) return new RowProof(null, $"event {e.Sequence}, which should vouch for it, was altered");
        if (bound.After == row.Digest()) return new RowProof(e.Sequence, null);
        IReadOnlyList<string> columns = bound.Marks is { } marks ? row.Differing(marks) : [];
        string where = columns.Count > 0 ? $" in {string.Join(", ", columns)}" : "";
        return new RowProof(null, $"{row.Table} {row.Key} differs{where} from what event {e.Sequence} vouches for");
    }
}
