using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>What a long test found, for its output and for the script beside it that asked for many rounds.</summary>
internal static class TestReport
{
    public static void Say(this ITestOutputHelper output, string line)
    {
        output.WriteLine(line);
        Progress(line);
    }

    /// <summary>How far it is: for the script only.</summary>
    public static void Progress(string line)
    {
        if (Environment.GetEnvironmentVariable("ARMOFLOW_TEST_REPORT") is { Length: > 0 } report) File.AppendAllText(report, line + "\n");
    }
}
