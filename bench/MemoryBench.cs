using System.Diagnostics;
using System.Globalization;
using System.Text;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// What extraction takes of memory, and how fast it is, at 1, 4 and 16 times the data: each in a process of its own, whose peak the
/// kernel keeps. The limit is the weights as they are stored, and 300 MB.
/// </summary>
internal static class MemoryBench
{
    public const string Once = "memory-once";
    private const int TokensOfShard = 1 << 17; // the most that a shard of the features step holds
    private const double Limit = 300;

    /// <param name="backbone">A folder, or a tokenizer.json to make a checkpoint for.</param>
    /// <param name="pairs">Preference pairs.</param>
    /// <param name="tokens">About how many tokens the smallest of the three has.</param>
    public static async Task Run(string backbone, string pairs, int tokens)
    {
        string folder = Directory.Exists(backbone) ? backbone : Directory.CreateTempSubdirectory("armoflow-memory-").FullName;
        try
        {
            if (folder != backbone) ComputeThread.Run(() => BenchCheckpoint.Write(folder, backbone));
            double stored = ComputeType.CheckpointBytes(folder) / 1e6;
            Console.WriteLine($"weights of {stored:n0} MB as they are stored; the limit is {stored + Limit:n0} MB");
            string[] dtypes = [.. FeaturesBench.Types().Select(type => type == ScalarType.BFloat16 ? "bf16" : "f32")];
            foreach (int times in new[] { 1, 4, 16 })
            {
                foreach (string dtype in dtypes)
                {
                    double[] found = await InProcess(folder, pairs, $"{(long)tokens * times}", dtype);
                    Console.WriteLine($"  {times,2} times, {dtype}: {found[0],9:n0} tokens, {found[1],6:n0} tokens/s, "
                        + $"peak {found[2]:n0} MB, {found[2] - stored:n0} MB beside the weights "
                        + $"({found[3]:n0} MB before they were loaded)");
                }
            }
        }
        finally
        {
            if (folder != backbone) Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task<double[]> InProcess(params string[] args)
    {
        ProcessStartInfo start = new(Environment.ProcessPath!, [Once, .. args]) { RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        string said = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return [.. said.TrimEnd().Split('\n')[^1].Split(' ').Select(n => double.Parse(n, CultureInfo.InvariantCulture))];
    }

    /// <summary>Extracts as a worker does, and says tokens, tokens a second, the peak, and what there was before; in MB.</summary>
    public static async Task RunOnce(string folder, string pairs, long mostTokens, string dtype)
    {
        ChatTokenizer tokenizer = Backbones.Tokenizer(folder);
        ComputeThread.Run(get_num_threads); // loads libtorch
        double before = PeakMegabytes();
        using FeatureExtractor extractor = new(folder, ComputeType.Parse(dtype), CPU);
        List<EncodedConversation> shard = [];
        long tokens = 0, pending = 0, start = Stopwatch.GetTimestamp();
        while (tokens < mostTokens)
        {
            await foreach (SourceRow row in RowReader.Read(pairs, pairs))
            {
                PreferencePair pair = PairFormats.Pair(row);
                foreach (Conversation side in new[] { pair.Chosen, pair.Rejected })
                {
                    shard.Add(tokenizer.Encode(side));
                    pending += shard[^1].Tokens.Length;
                }
                if (pending >= TokensOfShard || tokens + pending >= mostTokens) Extract();
                if (tokens >= mostTokens) break;
            }
        }
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{tokens} {tokens / seconds:f1} {PeakMegabytes():f1} {before:f1}"));

        void Extract()
        {
            extractor.Extract(shard);
            tokens += pending;
            shard.Clear();
            pending = 0;
        }
    }

    /// <summary>The largest resident size so far, by the kernel.</summary>
    private static double PeakMegabytes()
    {
        string line = File.ReadLines("/proc/self/status", Encoding.ASCII).First(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
        return double.Parse(line["VmHWM:".Length..^"kB".Length], CultureInfo.InvariantCulture) * 1024 / 1e6;
    }
}
