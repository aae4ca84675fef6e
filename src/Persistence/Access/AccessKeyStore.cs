using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Audit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Access;

/// <summary>Keys to the API: made, checked, revoked. A key reads armoflow_ID_SECRET.</summary>
public sealed class AccessKeyStore(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time) : IDisposable
{
    private const string Prefix = "armoflow";
    private const int IdBytes = 6, SecretBytes = 32, LongestDays = 36_500;
    private static readonly TimeSpan UseGrain = TimeSpan.FromMinutes(1);

    /// <summary>So soon is a key that another process makes or revokes known here.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromMilliseconds(250);

    private readonly SemaphoreSlim _reading = new(1);
    private volatile Snapshot? _known;

    /// <summary>Makes a key; what is returned is the only place where its secret stands.</summary>
    /// <exception cref="KeyException">The name or the days cannot be.</exception>
    public async Task<NewKey> Create(KeyRequest request, CancellationToken cancel)
    {
        string name = request.Name ?? ""; // JSON may say null
        if (StoredText.WrongAsLabel(name, StoredText.LongestTag) is { } expected)
            throw new KeyException($"key '{StoredText.Excerpt(name)}': expected {expected}. Give it another name.");
        if (request.Days is { } days && days is not (> 0 and < LongestDays))
            throw new KeyException($"{days} days: expected a number above 0 and below {LongestDays}. Correct it.");
        string secret = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(SecretBytes));
        DateTimeOffset now = time.GetUtcNow();
        AccessKey key = new()
        {
            Id = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(IdBytes)),
            Name = name,
            Scope = request.Scope,
            Hash = HashOf(secret),
            CreatedAt = now,
            CreatedBy = Caller.Current.Name,
            ExpiresAt = request.Days is { } lifetime ? now + TimeSpan.FromDays(lifetime) : null,
        };
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        db.AccessKeys.Add(key);
        db.Note("key.created", $"key/{key.Id}", after: new { key.Name, scope = key.Scope.ToString(), key.ExpiresAt });
        await db.SaveChangesAsync(cancel);
        _known = null;
        return new NewKey(key.Id, key.Name, key.Scope, key.ExpiresAt, $"{Prefix}_{key.Id}_{secret}");
    }

    public async Task<IReadOnlyList<AccessKey>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.AccessKeys.AsNoTracking().OrderBy(k => k.CreatedAt).ToListAsync(cancel);
    }

    /// <summary>Revokes a key.</summary>
    /// <exception cref="KeyException">There is none of that id, or it was revoked before.</exception>
    public async Task Revoke(string id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        AccessKey key = await db.AccessKeys.SingleOrDefaultAsync(k => k.Id == id && k.RevokedAt == null, cancel)
            ?? throw new KeyException($"no usable key '{StoredText.Excerpt(id)}'. See: armoflow keys list.", Refusal.Missing);
        key.RevokedAt = time.GetUtcNow();
        db.Note("key.revoked", $"key/{key.Id}", before: new { key.Name, scope = key.Scope.ToString() });
        await db.SaveChangesAsync(cancel);
        _known = null;
    }

    /// <summary>The key that a text is, if it may be used now. A text that is no key costs no question to the database.</summary>
    public async ValueTask<AccessKey?> Check(string text, CancellationToken cancel)
    {
        if (text.Split('_') is not [Prefix, var id, var secret]) return null;
        DateTimeOffset now = time.GetUtcNow();
        AccessKey? key = (await Known(cancel)).GetValueOrDefault(id);
        // Compared in constant time, and compared at all where there is no such key.
        bool fits = CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(HashOf(secret)),
            Encoding.ASCII.GetBytes(key?.Hash ?? HashOf("")));
        if (key is null || !fits || !key.IsUsable(now)) return null;
        if (key.LastUsedAt is not { } used || now - used >= UseGrain || Plausible.IsAhead(used, now)) await NoteUse(key, now, cancel);
        return key;
    }

    private async Task NoteUse(AccessKey key, DateTimeOffset now, CancellationToken cancel)
    {
        key.LastUsedAt = now;
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        await db.AccessKeys.Where(k => k.Id == key.Id).ExecuteUpdateAsync(set => set.SetProperty(k => k.LastUsedAt, now), cancel);
    }

    /// <summary>All keys, as they were a moment ago: however many texts are tried, the database is asked a few times a second.</summary>
    private async ValueTask<Dictionary<string, AccessKey>> Known(CancellationToken cancel)
    {
        if (_known is { } fresh && Stopwatch.GetElapsedTime(fresh.At) < Fresh) return fresh.Keys;
        await _reading.WaitAsync(cancel);
        try
        {
            if (_known is { } meanwhile && Stopwatch.GetElapsedTime(meanwhile.At) < Fresh) return meanwhile.Keys;
            long at = Stopwatch.GetTimestamp(); // of the machine, not of the database: this is about what is read how often
            Dictionary<string, AccessKey> keys = (await List(cancel)).ToDictionary(k => k.Id, StringComparer.Ordinal);
            _known = new Snapshot(keys, at);
            return keys;
        }
        finally { _reading.Release(); }
    }

    public void Dispose() => _reading.Dispose();

    private sealed record Snapshot(Dictionary<string, AccessKey> Keys, long At);

    public async Task<bool> HasUsableAdmin(CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        return (await List(cancel)).Any(k => k.Scope == Scope.Admin && k.IsUsable(now));
    }

    private static string HashOf(string secret) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(secret)));
}

/// <summary>A key cannot be made so, or there is none.</summary>
public sealed class KeyException(string message, Refusal refusal = Refusal.Unusable) : RefusedException(message, refusal);
