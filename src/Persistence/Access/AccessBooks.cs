using System.Security.Cryptography;
using System.Text;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Audit;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Access;

/// <summary>Keys to the API: made, checked, revoked. A key reads armoflow_ID_SECRET.</summary>
public sealed class AccessBooks(IDbContextFactory<ArmoFlowDbContext> contexts, TimeProvider time)
{
    private const string Prefix = "armoflow";
    private const int IdBytes = 6, SecretBytes = 32;
    private static readonly TimeSpan UseGrain = TimeSpan.FromMinutes(1);

    /// <summary>Makes a key; the text returned is the only place where its secret stands.</summary>
    /// <exception cref="KeyNameException">The name cannot be one.</exception>
    public async Task<(AccessKey Key, string Text)> Create(string name, Scope scope, TimeSpan? lifetime, CancellationToken cancel)
    {
        if (StoredText.WrongAsLabel(name, StoredText.LongestTag) is { } expected) throw new KeyNameException(name, expected);
        string secret = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(SecretBytes));
        DateTimeOffset now = time.GetUtcNow();
        AccessKey key = new()
        {
            Id = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(IdBytes)),
            Name = name,
            Scope = scope,
            Hash = HashOf(secret),
            CreatedAt = now,
            CreatedBy = Caller.Current.Name,
            ExpiresAt = now + lifetime,
        };
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        db.AccessKeys.Add(key);
        db.Note("key.created", $"key/{key.Id}", after: new { key.Name, scope = key.Scope.ToString(), key.ExpiresAt });
        await db.SaveChangesAsync(cancel);
        return (key, $"{Prefix}_{key.Id}_{secret}");
    }

    public async Task<IReadOnlyList<AccessKey>> List(CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.AccessKeys.AsNoTracking().OrderBy(k => k.CreatedAt).ToListAsync(cancel);
    }

    /// <summary>Revokes a key; false if there is none of that id, or it was revoked before.</summary>
    public async Task<bool> Revoke(string id, CancellationToken cancel)
    {
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        if (await db.AccessKeys.SingleOrDefaultAsync(k => k.Id == id && k.RevokedAt == null, cancel) is not { } key) return false;
        key.RevokedAt = time.GetUtcNow();
        db.Note("key.revoked", $"key/{key.Id}", before: new { key.Name, scope = key.Scope.ToString() });
        await db.SaveChangesAsync(cancel);
        return true;
    }

    /// <summary>The key that a text is, if it may be used now.</summary>
    public async Task<AccessKey?> Check(string text, CancellationToken cancel)
    {
        if (text.Split('_') is not [Prefix, var id, var secret]) return null;
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        AccessKey? key = await db.AccessKeys.SingleOrDefaultAsync(k => k.Id == id, cancel);
        // Compared in constant time, and compared at all where there is no such key.
        bool fits = CryptographicOperations.FixedTimeEquals(Encoding.ASCII.GetBytes(HashOf(secret)), Encoding.ASCII.GetBytes(key?.Hash ?? HashOf("")));
        DateTimeOffset now = time.GetUtcNow();
        if (key is null || !fits || !key.IsUsable(now)) return null;
        if (key.LastUsedAt is not { } used || now - used >= UseGrain || Plausible.IsAhead(used, now))
            await db.AccessKeys.Where(k => k.Id == id).ExecuteUpdateAsync(set => set.SetProperty(k => k.LastUsedAt, now), cancel);
        return key;
    }

    public async Task<bool> HasUsableAdmin(CancellationToken cancel)
    {
        DateTimeOffset now = time.GetUtcNow();
        return (await List(cancel)).Any(k => k.Scope == Scope.Admin && k.IsUsable(now));
    }

    private static string HashOf(string secret) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(secret)));
}

/// <summary>A key cannot be called so; the trail names its holder by it.</summary>
public sealed class KeyNameException(string name, string expected)
    : RefusedException($"key '{StoredText.Excerpt(name)}': expected {expected}. Give it another name.", Refusal.Unusable);
