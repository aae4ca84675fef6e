using System.CommandLine;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Audit;

namespace ArmoFlow.Cli;

/// <summary>
/// Runs one command line from its words to its exit code; whatever goes wrong is told on stderr, and as JSON where that is asked for.
/// </summary>
internal static class CommandRunner
{
    public static async Task<int> Run(string[] words, CancellationToken cancel)
    {
        bool isJson = words.Contains("--json");
        ParseResult parsed = CommandTree.Parse(CommandWords.Rewrite(words));
        if (parsed.Errors.Count > 0) return Misspelt(parsed, isJson);
        Caller.Current = Caller.OfProcess();
        try
        {
            return await parsed.InvokeAsync(new InvocationConfiguration
            {
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null
            }, cancel);
        }
        catch (Exception e) { return Fail(e, isJson); }
        finally { WorkspaceDatabase.CloseAll(); }
    }

    private static int Misspelt(ParseResult parsed, bool isJson)
    {
        IReadOnlyList<string> errors = [.. CommandWords.Errors(parsed).Select(Secrets.Mask)];
        if (isJson) PrintFailure(string.Join(' ', errors));
        foreach (string error in errors) Console.Error.WriteLine($"armoflow: {error}");
        string help = string.Join(' ', ["armoflow", .. Terminal.CommandPath(parsed.CommandResult), "--help"]);
        Console.Error.WriteLine($"See: {help}");
        return ExitCodes.BadInput;
    }

    private static int Fail(Exception e, bool isJson)
    {
        (int code, string said, string shown) = e switch
        {
            _ when Terminal.AsUserError(e) is { } message => (ExitCodes.BadInput, message, message),
            ServerUnavailableException => (ExitCodes.Failed, e.Message, e.Message),
            OperationCanceledException =>
                (ExitCodes.Failed, "interrupted", "interrupted; the same command goes on where this one stopped."),
            _ => Defect(e),
        };
        if (isJson) PrintFailure(said);
        Console.Error.WriteLine($"armoflow: {shown}");
        return code;
    }

    private static (int Code, string Said, string Shown) Defect(Exception e)
    {
        string said = $"{e.GetType().Name}: {Secrets.Mask(e.Message)}",
            stack = Terminal.WriteCrash(e) is { } file ? $"the stack is in {file}" : $"the stack: {Secrets.Mask(e.ToString())}";
        return (ExitCodes.Failed, said, $"{said}{Environment.NewLine}This is a defect of ArmoFlow; {stack}.");
    }

    /// <summary>A script that asked for JSON gets its one document whatever happens.</summary>
    private static void PrintFailure(string error) => Terminal.PrintJson(new
    {
        runId = (Guid?)null,
        status = "Failed",
        steps = Array.Empty<object>(),
        artifacts = new { },
        metrics = new { },
        error
    });
}
