using System.Diagnostics;
using ArmoFlow.RewardModel.Backbone;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Features;

/// <summary>The number type and device that features are computed in.</summary>
public static class ComputeType
{
    /// <summary>Under this size a forward pass is bound by everything but arithmetic, and float32 is always right.</summary>
    private const long SmallCheckpointBytes = 200_000_000;

    /// <summary>The accelerator where there is one, else the CPU.</summary>
    public static Device BestDevice => cuda.is_available() ? CUDA : CPU;

    /// <summary>The number type that a settled dtype names.</summary>
    /// <param name="dtype">'f32' or 'bf16'.</param>
    /// <exception cref="InvalidInputException">It is neither.</exception>
    public static ScalarType Parse(string dtype) => dtype switch
    {
        "f32" => ScalarType.Float32,
        "bf16" => ScalarType.BFloat16,
        _ => throw new InvalidInputException("dtype", $"'{dtype}'", "auto, f32 or bf16", "Correct the value."),
    };

    /// <summary>
    /// Settles 'auto' by a short measurement of one feed-forward product: bfloat16 only where it is at least half as fast again,
    /// since machines without its instructions emulate it several times slower than float32.
    /// </summary>
    public static string Settle(string dtype, long checkpointBytes, int hiddenSize, int intermediateSize)
    {
        if (dtype != "auto") return dtype;
        if (checkpointBytes < SmallCheckpointBytes) return "f32";
        return Seconds(ScalarType.BFloat16) * 1.5 < Seconds(ScalarType.Float32) ? "bf16" : "f32";

        double Seconds(ScalarType type)
        {
            using DisposeScope scope = NewDisposeScope();
            using var noGradient = no_grad();
            Tensor x = ones([256, hiddenSize], type, BestDevice), w = ones([intermediateSize, hiddenSize], type, BestDevice);
            double best = double.MaxValue;
            for (int i = 0; i < 4; i++)
            {
                long start = Stopwatch.GetTimestamp();
                nn.functional.linear(x, w).sum().to(ScalarType.Float32).item<float>();
                best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
            return best;
        }
    }

    /// <summary>The size of a checkpoint's weights, in bytes.</summary>
    /// <param name="folder">The backbone's.</param>
    /// <exception cref="InvalidInputException">The folder holds no checkpoint.</exception>
    public static long CheckpointBytes(string folder)
    {
        using Checkpoint checkpoint = new(folder);
        return checkpoint.Bytes;
    }

    /// <summary>What computed it, for the lineage: bit-for-bit claims hold between like machines.</summary>
    public static string Hardware =>
        BestDevice.type == DeviceType.CUDA ? "cuda" : $"{ProcessorName()} × {Environment.ProcessorCount}";

    private static string? ProcessorName() =>
        File.Exists("/proc/cpuinfo")
            ? File.ReadLines("/proc/cpuinfo")
                .FirstOrDefault(l => l.StartsWith("model name", StringComparison.Ordinal))
                ?.Split(':')[1].Trim()
            : "cpu";
}
