using System.CommandLine;
using System.CommandLine.Parsing;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Text.Json;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Cli.Commands.Steps;

/// <summary>What the step commands share: options, progress on stderr, identity of rows.</summary>
internal static class StepFiles
{
    private static readonly string[] Paths =
        ["--backbone", "--input", "--features", "--regression", "--transform", "--gating", "--subsets", "--out", "--report"];
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromSeconds(2);
    private static long _lastProgress = Stopwatch.GetTimestamp();

    public static Option<string> File(string name, string description) => new(name) { Description = description, Required = true };
    public static Option<string?> Optional(string name, string description) => new(name) { Description = description };

    /// <summary>Refuses to write over what the command reads, or into a folder that it reads.</summary>
    public static void KeepInputs(CommandResult command)
    {
        (string Name, string Path)[] paths =
        [
            .. command.Children.OfType<OptionResult>()
                .Where(o => Paths.Contains(o.Option.Name))
                .SelectMany(o => o.Tokens, (o, token) => (o.Option.Name, token.Value))
                .Where(p => p.Value.Length > 0 && !p.Value.Contains('\0')) // no path at all; who opens it says so
                .Select(p => (p.Name, Path.GetFullPath(p.Value)))
        ];
        foreach ((string name, string target) in paths.Where(p => p.Name is "--out" or "--report"))
        {
            foreach ((string other, string input) in paths.Where(p => p.Name != name))
            {
                bool isInput = target == input || (System.IO.File.Exists(input) && System.IO.File.Exists(target)
                    && RegularFile.Stamp(input) == RegularFile.Stamp(target));
                bool isWithin = Directory.Exists(input) && target.StartsWith(input + Path.DirectorySeparatorChar, StringComparison.Ordinal);
                if (isInput || isWithin)
                {
                    command.AddError(
                        $"{name} {target}: {(isInput ? "the same file as" : "within the folder of")} {other}. Write elsewhere.");
                }
            }
        }
    }

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
