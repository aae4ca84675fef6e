using System.Diagnostics;
using System.Text.RegularExpressions;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>Runs what the tours in docs/tours tell their readers to run: every block, in order, in one shell.</summary>
public partial class TourTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(8);

    [Theory]
    [InlineData("trigger")]
    [InlineData("schedule")]
    [InlineData("audit")]
    public async Task A_tour_can_be_taken_as_it_is_written(string tour)
    {
        string text = await File.ReadAllTextAsync(Path.Combine(Root(), "docs", "tours", $"{tour}.md"), TestContext.Current.CancellationToken), folder = Directory.CreateTempSubdirectory("armoflow-tour-").FullName;
        string address = $"localhost:{Cluster.FreePort()}";
        string script = "set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true; wait' EXIT\n" + string.Join('\n', Block().Matches(text).Select(m => m.Groups[1].Value)).Replace("armoflow serve &", $"armoflow serve --urls http://{address} &", StringComparison.Ordinal).Replace("localhost:5080", address, StringComparison.Ordinal);
        try
        {
            string shim = Path.Combine(folder, "armoflow"), here = Directory.CreateDirectory(Path.Combine(folder, "here")).FullName;
            await File.WriteAllTextAsync(shim, $"#!/bin/sh\nexec dotnet {Path.Combine(AppContext.BaseDirectory, "armoflow.dll")} \"$@\"\n", TestContext.Current.CancellationToken);
            File.SetUnixFileMode(shim, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            ProcessStartInfo start = new("bash", ["-c", script]) { WorkingDirectory = here, RedirectStandardError = true, RedirectStandardOutput = true };
            start.Environment["PATH"] = $"{folder}:{start.Environment["PATH"]}";
            foreach (string variable in new[] { "ARMOFLOW_WORKSPACE", "ARMOFLOW_URL" }) start.Environment.Remove(variable);
            using Process shell = Process.Start(start)!;
            Task<string> output = shell.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), error = shell.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            using CancellationTokenSource limit = new(Limit);
            try { await shell.WaitForExitAsync(limit.Token); }
            catch (OperationCanceledException) { shell.Kill(entireProcessTree: true); }
            shell.ExitCode.ShouldBe(0, $"{await output}\n{await error}");
            Block().Count(text).ShouldBeGreaterThan(2);
        }
        finally { Directory.Delete(folder, recursive: true); }
    }

    private static string Root()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "ArmoFlow.sln"))) folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException("the tests run outside of the repository");
    }

    [GeneratedRegex("^```bash\n(.*?)^```$", RegexOptions.Singleline | RegexOptions.Multiline)]
    private static partial Regex Block();
}
