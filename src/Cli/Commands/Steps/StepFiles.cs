using System.CommandLine;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Cli.Commands.Steps;

/// <summary>What the step commands share: options, progress on stderr, identity of rows.</summary>
internal static class StepFiles
{
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromSeconds(2);
    private static long _lastProgress = Stopwatch.GetTimestamp();

    public static Option<string> File(string name, string description) => new(name) { Description = description, Required = true };
    public static Option<string?> Optional(string name, string description) => new(name) { Description = description };

    public static void Progress(string unit, long done, long total)
    {
        if (Stopwatch.GetElapsedTime(_lastProgress) < ProgressInterval) return;
        _lastProgress = Stopwatch.GetTimestamp();
        Console.Error.WriteLine($"… {done:N0} of {total:N0} {unit}");
    }

    public static void WriteReport(string? path, object report)
    {
        if (path is not null) AtomicFile.WriteText(path, JsonSerializer.Serialize(report, Terminal.Json) + "\n");
    }

    /// <summary>Ids that decide the split: the file's conversation ids where it has them, or hashes of the features themselves.</summary>
    public static string[] RowIds(IReadOnlyList<SafetensorsFile> files, IFeatureRows rows)
    {
        if (!files.All(f => f.Entries.ContainsKey("conversation_ids"))) return Hashes(rows);
        List<string> ids = [];
        foreach (SafetensorsFile file in files)
        {
            using TorchSharp.torch.Tensor tensor = file.Load("conversation_ids");
            ids.AddRange(tensor.bytes.ToArray().Chunk(SHA256.HashSizeInBytes).Select(Convert.ToHexStringLower));
        }
        return [.. ids];
    }

    public static string[] Hashes(IFeatureRows rows)
    {
        float[] row = new float[rows.Dimension];
        string[] hashes = new string[rows.Count];
        for (int i = 0; i < hashes.Length; i++)
        {
            rows.Copy(i, row);
            hashes[i] = Convert.ToHexStringLower(SHA256.HashData(System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(row)));
        }
        return hashes;
    }
}
