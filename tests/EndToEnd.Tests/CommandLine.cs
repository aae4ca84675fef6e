using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using Shouldly;

namespace ArmoFlow.EndToEnd.Tests;

internal sealed record CommandResult(int ExitCode, string Output, string Error)
{
    public JsonNode Json => JsonNode.Parse(Output)!;
}

/// <summary>The armoflow program in a process of its own, as a user starts it.</summary>
internal static class CommandLine
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(5);

    /// <summary>Where a build puts the program, compiled ahead; beside the tests lies its library alone.</summary>
    public static string Program { get; } = Path.Combine(
        AppContext.BaseDirectory, "..", "..", "Cli", Path.GetFileName(AppContext.BaseDirectory.TrimEnd('/')), "armoflow.dll");

    public static Process Start(params string[] arguments) => Start(arguments, []);

    public static Process Start(string[] arguments, params (string Name, string Value)[] environment) =>
        Start(Environment.CurrentDirectory, arguments, environment);

    private static Process Start(string folder, string[] arguments, params (string Name, string Value)[] environment)
    {
        ProcessStartInfo start = new("dotnet", [Path.GetFullPath(Program), .. arguments])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment.Remove("ARMOFLOW_WORKSPACE");
        start.Environment.Remove("ARMOFLOW_URL");
        start.Environment["OMP_WAIT_POLICY"] = "passive"; // several processes share the cores: one that waits leaves them to the others
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>As another user of this machine, by number; needs root.</summary>
    public static Task<CommandResult> RunAs(string user, string[] arguments)
    {
        string[] program = ["--reuid", user, "--clear-groups", "dotnet", Program];
        ProcessStartInfo start = new("setpriv", [.. program, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string name in new[] { "ARMOFLOW_WORKSPACE", "ARMOFLOW_URL", "HOME", "USER", "LOGNAME" }) start.Environment.Remove(name);
        start.Environment["HOME"] = Path.GetTempPath();
        return Finish(Process.Start(start)!, arguments);
    }

    public static Task<CommandResult> Run(params string[] arguments) => Run(arguments, []);

    public static Task<CommandResult> RunIn(string folder, string[] arguments, params (string Name, string Value)[] environment) =>
        Finish(Start(folder, arguments, environment), arguments);

    public static Task<CommandResult> Run(string[] arguments, params (string Name, string Value)[] environment) =>
        Finish(Start(arguments, environment), arguments);

    private static async Task<CommandResult> Finish(Process started, string[] arguments)
    {
        using Process process = started;
        StringBuilder output = new(), error = new();
        process.OutputDataReceived += (_, e) => { if (e.Data is not null) output.AppendLine(e.Data); };
        process.ErrorDataReceived += (_, e) => { if (e.Data is not null) error.AppendLine(e.Data); };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        using CancellationTokenSource limit = new(Limit);
        try { await process.WaitForExitAsync(limit.Token); }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"armoflow {string.Join(' ', arguments)} took longer than {Limit}:\n{error}");
        }
        return new CommandResult(process.ExitCode, output.ToString(), error.ToString());
    }

    /// <summary>Runs a command that must succeed.</summary>
    public static async Task<CommandResult> Succeed(params string[] arguments)
    {
        CommandResult result = await Run(arguments);
        result.ExitCode.ShouldBe(0, result.Error);
        return result;
    }

    /// <summary>Runs a command that must be refused as the user's error: exit code 2, these words, and no stack trace.</summary>
    public static Task<CommandResult> Refused(string[] arguments, params string[] words) => EndWith(2, arguments, words);

    /// <summary>Runs a command that must fail through no fault of the user's: exit code 1, these words, and no stack trace.</summary>
    public static Task<CommandResult> Fails(string[] arguments, params string[] words) => EndWith(1, arguments, words);

    private static async Task<CommandResult> EndWith(int exitCode, string[] arguments, string[] words)
    {
        CommandResult result = await Run(arguments);
        result.ExitCode.ShouldBe(exitCode, result.Error);
        foreach (string word in words) result.Error.ShouldContain(word);
        result.Error.ShouldNotContain("   at ");
        return result;
    }
}
