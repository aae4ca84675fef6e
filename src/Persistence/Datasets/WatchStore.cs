using ArmoFlow.Persistence.Audit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Datasets;

/// <summary>Rows of watched places, and of the files that were seen there.</summary>
public sealed class WatchStore(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    public async Task<IReadOnlyList<WatchedPlace>> Places(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.WatchedPlaces.AsNoTracking().OrderBy(w => w.Dataset).ThenBy(w => w.Address).ToListAsync(cancel);
    }

    /// <summary>Why files could not be taken, by data set and address.</summary>
    public async Task<ILookup<(string Dataset, string Address), string>> Refused(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        List<WatchedFile> refused =
            await db.WatchedFiles.AsNoTracking().Where(f => f.Error != null).OrderBy(f => f.Name).ToListAsync(cancel);
        return refused.ToLookup(f => (f.Dataset, f.Address), f => f.Error!);
    }

    /// <summary>Enters a place, unless it is there.</summary>
    public async Task Add(WatchedPlace place, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.WatchedPlaces.AnyAsync(w => w.Dataset == place.Dataset && w.Address == place.Address, cancel)) return;
        db.WatchedPlaces.Add(place);
        db.Note("dataset.watched", $"dataset/{place.Dataset}", after: new { address = place.Address });
        await db.SaveChangesAsync(cancel);
    }

    /// <exception cref="DatasetException">It is not watched.</exception>
    public async Task Remove(string dataset, string address, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        WatchedPlace place = await db.WatchedPlaces.SingleOrDefaultAsync(w => w.Dataset == dataset && w.Address == address, cancel)
            ?? throw new DatasetException($"no watch of '{address}' for data set '{dataset}'. See: armoflow datasets watches.",
                Refusal.Missing);
        db.Remove(place);
        db.WatchedFiles.RemoveRange(db.WatchedFiles.Where(f => f.Dataset == dataset && f.Address == address));
        db.Note("dataset.unwatched", $"dataset/{dataset}", before: new { address });
        await db.SaveChangesAsync(cancel);
    }

    /// <summary>Enters why a place could not be looked at; null where it could.</summary>
    public async Task SetError(WatchedPlace place, string? error, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.WatchedPlaces.Where(w => w.Dataset == place.Dataset && w.Address == place.Address)
            .ExecuteUpdateAsync(set => set.SetProperty(w => w.Error, error), cancel);
    }

    /// <summary>The marks of the files that were seen at a place, by name.</summary>
    public async Task<IReadOnlyDictionary<string, string>> Seen(WatchedPlace place, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.WatchedFiles.Where(f => f.Dataset == place.Dataset && f.Address == place.Address)
            .ToDictionaryAsync(f => f.Name, f => f.Mark, cancel);
    }

    /// <summary>Enters that a file was seen; another orchestrator may have come to it at the same moment.</summary>
    public async Task MarkSeen(WatchedPlace place, string name, string mark, string? error, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.Database.ExecuteSqlAsync($"""
            insert into watched_files (dataset, address, name, mark, error)
            values ({place.Dataset}, {place.Address}, {name}, {mark}, {error})
            on conflict (dataset, address, name) do update set mark = excluded.mark, error = excluded.error
            """, cancel);
    }
}
