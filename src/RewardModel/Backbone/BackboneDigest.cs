using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>What a backbone's folder is known by.</summary>
internal static class BackboneDigest
{
    private const string Index = "model.safetensors.index.json";

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
        [.. Directory.EnumerateFiles(folder).Where(Decides).Union(Shards(folder)).Order(StringComparer.Ordinal)];

    /// <summary>A shard may have any name: what counts is that the index names it.</summary>
    private static IReadOnlyList<string> Shards(string folder)
    {
        string index = Path.Combine(folder, Index);
        if (RegularFile.OtherKind(index) is not null || !File.Exists(index)) return [];
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(index));
            IEnumerable<string> names = document.RootElement.GetProperty("weight_map").EnumerateObject().Select(e => e.Value.GetString()!);
            return [.. names.Distinct().Where(n => n == Path.GetFileName(n)).Select(n => Path.Combine(folder, n)).Where(File.Exists)];
        }
        // Whoever loads the checkpoint says what is wrong with its index.
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException) { return []; }
    }

    private static bool Decides(string path) =>
        Path.GetFileName(path) is "config.json" or "tokenizer.json" or Index
        || (Path.GetExtension(path) == ".safetensors" && Path.GetFileName(path).StartsWith("model", StringComparison.Ordinal));
}
