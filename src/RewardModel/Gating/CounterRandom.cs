namespace ArmoFlow.RewardModel.Gating;

/// <summary>
/// A counter-based generator (the finaliser of SplitMix64 over seed, stream and counter): any draw is computed directly, so
/// step n draws the same values whatever came before it.
/// </summary>
public static class CounterRandom
{
    /// <summary>64 uniform bits.</summary>
    /// <param name="seed">Of the whole run.</param>
    /// <param name="stream">Tells apart what the draws are for.</param>
    /// <param name="counter">Number of the draw in its stream.</param>
    public static ulong Bits(ulong seed, ulong stream, ulong counter) =>
        Mix(Mix(Mix(seed + 0x9E3779B97F4A7C15) ^ stream) + counter * 0x9E3779B97F4A7C15);

    /// <summary>Uniform in [0, 1).</summary>
    public static double Uniform(ulong seed, ulong stream, ulong counter) => (Bits(seed, stream, counter) >> 11) * (1.0 / (1UL << 53));

    /// <summary>Uniform in {0, …, n − 1}.</summary>
    public static int Index(ulong seed, ulong stream, ulong counter, int n) =>
        (int)(((UInt128)Bits(seed, stream, counter) * (ulong)n) >> 64);

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
