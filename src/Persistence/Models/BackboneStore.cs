using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel.Backbone;
using Microsoft.EntityFrameworkCore;

namespace ArmoFlow.Persistence.Models;

/// <summary>Where backbones lie that are no longer where a run found them: by digest, so that a version cannot be given another.</summary>
public sealed class BackboneStore(IDbContextFactory<ArmoFlowDbContext> contexts)
{
    private const string Configuration = "config.json";

    /// <summary>True for a folder that can be a backbone's.</summary>
    public static bool IsThere(string folder) => File.Exists(Path.Combine(folder, Configuration));

    /// <summary>True where workers run in this very process or beside it, as on a workspace; servers' workers may be anywhere.</summary>
    public bool SeesWhatWorkersSee
    {
        get
        {
            using ArmoFlowDbContext db = contexts.CreateDbContext();
            return db.Database.IsSqlite();
        }
    }

    /// <summary>
    /// The recorded folder while it is there; else where the backbone of this digest is said to lie; else the recorded one.
    /// </summary>
    public async Task<string> Locate(string recorded, string digest, CancellationToken cancel) =>
        IsThere(recorded) ? recorded : await Find(digest, cancel) ?? recorded;

    /// <summary>What a folder's backbone is known by.</summary>
    public static string DigestOf(string folder, CancellationToken cancel = default) => BackboneDigest.Of(folder, cancel);

    /// <summary>Where the backbone of a digest is said to lie; null if nobody said.</summary>
    public async Task<string?> Find(string digest, CancellationToken cancel)
    {
        string key = KeyOf(digest);
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        return await db.Settings.Where(s => s.Key == key).Select(s => s.Value).SingleOrDefaultAsync(cancel);
    }

    /// <summary>Enters where a backbone lies now, after hashing what is there.</summary>
    /// <param name="model">Whose backbone it is, for the audit trail.</param>
    /// <param name="digest">What its files hash to.</param>
    /// <param name="folder">Where it is said to lie, as the workers see it too.</param>
    /// <param name="cancel">Gives up hashing.</param>
    /// <exception cref="RegistryException">There is no backbone, or another one.</exception>
    public async Task<string> Place(string model, string digest, string folder, CancellationToken cancel)
    {
        string path = Path.GetFullPath(folder);
        if (!IsThere(path))
        {
            throw new RegistryException($"{path}: no backbone there; expected a folder with {Configuration}, tokenizer.json and the "
                + "weights. Check the path.",
                Refusal.Unusable);
        }
        if (BackboneDigest.Files(path).FirstOrDefault(f => RegularFile.OtherKind(f) is not null) is { } other)
            throw new RegistryException($"{other}: {RegularFile.OtherKind(other)}; expected a regular file. Fetch the checkpoint again.");
        string found = DigestOf(path, cancel);
        if (found != digest)
        {
            throw new RegistryException($"{path}: a backbone with sha256 {found[..16]}…; expected {digest[..16]}…, as {model} was "
                + "trained on. Give the folder of that one.",
                Refusal.Unusable);
        }
        await using ArmoFlowDbContext db = await contexts.CreateDbContextAsync(cancel);
        string key = KeyOf(digest);
        Setting? known = await db.Settings.SingleOrDefaultAsync(s => s.Key == key, cancel);
        string? before = known?.Value;
        if (known is null) db.Settings.Add(new Setting { Key = key, Value = path });
        else known.Value = path;
        db.Note("backbone.placed", $"backbone/{digest}", before is null ? null : new { path = before }, new { path, model });
        await db.SaveChangesAsync(cancel);
        return path;
    }

    private static string KeyOf(string digest) => $"backbone {digest}";
}
