using System.Diagnostics;
using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

internal static class Measure
{
    /// <summary>Median seconds of a few repetitions, after one that is not counted.</summary>
    public static double Seconds(Action work, int repetitions = 3)
    {
        work();
        double[] seconds = new double[repetitions];
        for (int i = 0; i < repetitions; i++)
        {
            long start = Stopwatch.GetTimestamp();
            work();
            seconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        return seconds.Order().ElementAt(repetitions / 2);
    }

    /// <summary>The same for work that is awaited.</summary>
    public static async Task<double> Seconds(Func<Task> work, int repetitions = 3)
    {
        await work();
        double[] seconds = new double[repetitions];
        for (int i = 0; i < repetitions; i++)
        {
            long start = Stopwatch.GetTimestamp();
            await work();
            seconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }
        return seconds.Order().ElementAt(repetitions / 2);
    }

    /// <summary>What this machine's matrix product reaches in a type: the limit of everything here, in operations a second.</summary>
    public static double MatrixProductFlops(ScalarType type, int size = 1024)
    {
        using DisposeScope scope = NewDisposeScope();
        Tensor a = ones([size, size], type), b = ones([size, size], type);
        return 2.0 * size * size * size / Seconds(() => a.matmul(b).Dispose(), 9);
    }

    public static void Print(string what, double ours, double peer, double limit, string unit)
    {
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"""
            {what}
              ours          {ours,10:f3} {unit}
              peer's way    {peer,10:f3} {unit}   peer ÷ ours {peer / ours:f1}
              limit         {limit,10:f3} {unit}   limit ÷ ours {limit / ours:f2}
            """));
    }
}
