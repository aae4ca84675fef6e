using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace ArmoFlow.EndToEnd.Tests;

internal static class Waiting
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100), Limit = TimeSpan.FromMinutes(10); // machines are shared

    /// <exception cref="TimeoutException">Ten minutes passed.</exception>
    public static async Task Eventually(Func<Task<bool>> condition, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        for (long start = Stopwatch.GetTimestamp(); !await condition(); await Task.Delay(Interval))
            if (Stopwatch.GetElapsedTime(start) > Limit) throw new TimeoutException($"it did not come to pass: {what}");
    }
}
