using System.Runtime.CompilerServices;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>The development data beside the repository; tests that need it say so where it is absent.</summary>
internal static class SharedData
{
    public static string Folder { get; } = Environment.GetEnvironmentVariable("ARMOFLOW_TEST_DATA")
        ?? Path.GetFullPath(Path.Combine(Path.GetDirectoryName(ThisFile())!, "../../../shared/data"));

    public static string Require(string path)
    {
        string full = Path.Combine(Folder, path);
        Assert.SkipUnless(File.Exists(full) || Directory.Exists(full),
            $"needs the development data: {path} is not there (set ARMOFLOW_TEST_DATA)");
        return full;
    }

    private static string ThisFile([CallerFilePath] string path = "") => path;
}
