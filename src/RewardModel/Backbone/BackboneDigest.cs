using System.Security.Cryptography;
using System.Text;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>What a backbone's folder is known by.</summary>
internal static class BackboneDigest
{
    /// <summary>
    /// sha256 over everything of the folder that decides a feature: config.json, tokenizer.json, and the shards.
    /// Names are included so that a renamed shard is another backbone.
    /// </summary>
    public static string Of(string folder, CancellationToken cancel)
    {
        using IncrementalHash whole = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string path in Files(folder))
        {
            cancel.ThrowIfCancellationRequested();
            using FileStream stream = File.OpenRead(path);
            whole.AppendData(Encoding.UTF8.GetBytes(Path.GetFileName(path) + "\n"));
            whole.AppendData(SHA256.HashData(stream));
        }
        return Convert.ToHexStringLower(whole.GetHashAndReset());
    }

    /// <summary>The files that decide a feature, in the order in which they are hashed.</summary>
    public static IReadOnlyList<string> Files(string folder) =>
        [.. Directory.EnumerateFiles(folder).Where(Decides).Order(StringComparer.Ordinal)];

    private static bool Decides(string path) =>
        Path.GetFileName(path) is "config.json" or "tokenizer.json" or "model.safetensors.index.json"
        || (Path.GetExtension(path) == ".safetensors" && Path.GetFileName(path).StartsWith("model", StringComparison.Ordinal));
}
