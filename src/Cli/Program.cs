using System.CommandLine;
using System.Runtime.InteropServices;
using ArmoFlow.Cli;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Audit;

Terminal.Guard();
string[] words = CommandWords.Rewrite(args);
ParseResult parsed = CommandTree.Parse(words);
if (parsed.Errors.Count > 0)
{
    IReadOnlyList<string> errors = [.. CommandWords.Errors(parsed).Select(Secrets.Mask)];
    PrintFailure(string.Join(' ', errors));
    foreach (string error in errors) Console.Error.WriteLine($"armoflow: {error}");
    Console.Error.WriteLine($"See: armoflow {string.Join(' ', Terminal.CommandPath(parsed.CommandResult))} --help".Replace("  ", " ",
        StringComparison.Ordinal));
    return ExitCodes.BadInput;
}
Caller.Current = Caller.OfProcess();
using CancellationTokenSource interrupt = new();
using PosixSignalRegistration interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, Interrupt),
    terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Interrupt);
try
{
    return await parsed.InvokeAsync(new InvocationConfiguration
    {
        EnableDefaultExceptionHandler = false,
        ProcessTerminationTimeout = null
    }, interrupt.Token);
}
catch (Exception e) when (Terminal.AsUserError(e) is { } message)
{
    PrintFailure(message);
    Console.Error.WriteLine($"armoflow: {message}");
    return ExitCodes.BadInput;
}
catch (ServerUnavailableException e)
{
    PrintFailure(e.Message);
    Console.Error.WriteLine($"armoflow: {e.Message}");
    return ExitCodes.Failed;
}
catch (OperationCanceledException)
{
    PrintFailure("interrupted");
    Console.Error.WriteLine("armoflow: interrupted; the same command goes on where this one stopped.");
    return ExitCodes.Failed;
}
catch (Exception e)
{
    PrintFailure($"{e.GetType().Name}: {Secrets.Mask(e.Message)}");
    string stack = Terminal.WriteCrash(e) is { } file ? $"the stack is in {file}" : $"the stack: {Secrets.Mask(e.ToString())}";
    Console.Error.WriteLine(
        $"armoflow: {e.GetType().Name}: {Secrets.Mask(e.Message)}{Environment.NewLine}This is a defect of ArmoFlow; {stack}.");
    return ExitCodes.Failed;
}

// A script that asked for JSON gets its one document whatever happens.
void PrintFailure(string error)
{
    if (!args.Contains("--json")) return;
    Terminal.PrintJson(new
    {
        runId = (Guid?)null,
        status = "Failed",
        steps = Array.Empty<object>(),
        artifacts = new { },
        metrics = new { },
        error
    });
}

// The first signal asks for an orderly end; a second one is not held back.
void Interrupt(PosixSignalContext context)
{
    context.Cancel = !interrupt.IsCancellationRequested;
    interrupt.Cancel();
}
