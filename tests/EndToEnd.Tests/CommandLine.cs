using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using Shouldly;

namespace ArmoFlow.EndToEnd.Tests;

internal sealed record CommandResult(int ExitCode, string Output, string Error)
{
    public JsonNode Json => JsonNode.Parse(Output)!;
}

/// <summary>
/// The armoflow program. A command that is only to end runs in this process, which is warm: its start costs more than most of what it does.
/// Whatever is started to be stopped, killed or measured, or has an environment or a folder of its own, is a process as users start it.
/// </summary>
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
        SetCompilation(start, arguments);
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>As the script armoflow has it: what runs for long compiles what it calls once.</summary>
    private static void SetCompilation(ProcessStartInfo start, string[] arguments)
    {
        switch (arguments.FirstOrDefault())
        {
            case "worker":
                start.Environment["DOTNET_TieredCompilation"] = "0";
                break;
            case "orchestrator" or "serve":
                start.Environment["DOTNET_TC_QuickJit"] = "0";
                break;
        }
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

    public static async Task<CommandResult> Run(params string[] arguments)
    {
        using CancellationTokenSource limit = new(Limit);
        StringBuilder error = new();
        (int exitCode, string output) = await RunHere(arguments, line => error.AppendLine(line), limit.Token);
        return limit.IsCancellationRequested ? throw TookTooLong(arguments, error.ToString())
            : new CommandResult(exitCode, output, error.ToString());
    }

    /// <summary>Runs a command in this process, and hands on each line of its stderr.</summary>
    public static async Task<(int ExitCode, string Output)> RunHere(string[] arguments, Action<string> hear, CancellationToken stop)
    {
        FlowWriter.TakeConsole();
        StringWriter output = new(CultureInfo.InvariantCulture);
        FlowWriter.Output.Turn(output);
        FlowWriter.Error.Turn(new LineWriter(hear));
        int exitCode = await CommandRunner.Run(arguments, stop);
        return (exitCode, output.ToString());
    }

    /// <summary>The same in a process of its own.</summary>
    public static Task<CommandResult> RunApart(params string[] arguments) => Run(arguments, []);

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
            throw TookTooLong(arguments, error.ToString());
        }
        return new CommandResult(process.ExitCode, output.ToString(), error.ToString());
    }

    private static TimeoutException TookTooLong(string[] arguments, string error) =>
        new($"armoflow {string.Join(' ', arguments)} took longer than {Limit}:\n{error}");

    /// <summary>Runs a command that must succeed.</summary>
    public static async Task<CommandResult> Succeed(params string[] arguments)
    {
        CommandResult result = await Run(arguments);
        result.ExitCode.ShouldBe(0, result.Error);
        return result;
    }

    /// <summary>Runs a command that must be refused as the user's error: exit code 2, these words, and no stack trace.</summary>
    public static Task<CommandResult> Refused(string[] arguments, params string[] words) => EndWith(2, Run(arguments), words);

    /// <summary>The same in a process of its own.</summary>
    public static Task<CommandResult> RefusedApart(string[] arguments, params string[] words) => EndWith(2, RunApart(arguments), words);

    /// <summary>Runs a command that must fail through no fault of the user's: exit code 1, these words, and no stack trace.</summary>
    public static Task<CommandResult> Fails(string[] arguments, params string[] words) => EndWith(1, Run(arguments), words);

    private static async Task<CommandResult> EndWith(int exitCode, Task<CommandResult> running, string[] words)
    {
        CommandResult result = await running;
        result.ExitCode.ShouldBe(exitCode, result.Error);
        foreach (string word in words) result.Error.ShouldContain(word);
        result.Error.ShouldNotContain("   at ");
        return result;
    }
}
