using System.CommandLine;
using ArmoFlow.Cli.Workspaces;
using ArmoFlow.Client;
using ArmoFlow.Contracts;

namespace ArmoFlow.Cli;

/// <summary>The options with which a command says whose records it asks, and how it prints them.</summary>
internal static class ClientOptions
{
    public static readonly Option<string> Workspace = new("--workspace")
    {
        Description = "Folder of the database and artifacts (default: $ARMOFLOW_WORKSPACE, or .armoflow here).",
        DefaultValueFactory = _ => Environment.GetEnvironmentVariable("ARMOFLOW_WORKSPACE") ?? ".armoflow",
    };

    public static readonly Option<string?> Server = new("--server")
    {
        Description = "Use this server instead of a workspace (default: $ARMOFLOW_URL).",
        DefaultValueFactory = Options.Unshown(() =>
            Environment.GetEnvironmentVariable("ARMOFLOW_URL") is { Length: > 0 } url ? url : null),
    };

    public static readonly Option<bool> Json = new("--json") { Description = "Print exactly one JSON document on stdout." };

    /// <summary>Gives a command the options and what it does.</summary>
    /// <param name="command">The command.</param>
    /// <param name="action">Opens a client where it needs one, and returns the exit code.</param>
    /// <param name="printsJson">False for a command that has nothing to print.</param>
    public static Command WithClient(this Command command, Func<ParseResult, CancellationToken, Task<int>> action, bool printsJson = true)
    {
        command.Options.Add(Workspace);
        command.Options.Add(Server);
        if (printsJson) command.Options.Add(Json);
        command.SetAction(action);
        return command;
    }

    /// <summary>Has a command that works on this machine alone, with its subcommands, say so where it is told a server.</summary>
    /// <param name="command">The command.</param>
    /// <param name="reason">Why; a sentence.</param>
    public static Command WithoutServer(this Command command, string reason)
    {
        foreach (Command sub in command.Subcommands) sub.WithoutServer(reason);
        Option<string?> server = new(Server.Name) { Hidden = true };
        server.Validators.Add(result => result.AddError($"--server: {reason} Leave it out."));
        command.Options.Add(server);
        return command;
    }

    public static bool WantsJson(this ParseResult parsed) => parsed.GetValue(Json);

    public static string WorkspaceFolder(this ParseResult parsed) => parsed.GetRequiredValue(Workspace);

    /// <summary>The server to ask, named on the command line or by ARMOFLOW_URL; null for the workspace.</summary>
    /// <exception cref="UsageException">Both are named on the command line.</exception>
    public static string? ServerAddress(this ParseResult parsed)
    {
        if (!parsed.Names(Workspace)) return parsed.GetValue(Server);
        return parsed.Names(Server) ? throw new UsageException("--server and --workspace: expected one of them. Leave one out.") : null;
    }

    /// <summary>True for an option that stands on the command line.</summary>
    public static bool Names(this ParseResult parsed, Option option) => parsed.GetResult(option) is { Implicit: false };

    /// <summary>A client of the server or of the workspace.</summary>
    /// <exception cref="UsageException">There is no such workspace, or the address is none.</exception>
    public static async Task<IArmoFlowClient> OpenClient(this ParseResult parsed) =>
        parsed.ServerAddress() is { } server ? Connect(server) : await WorkspaceClient.Open(parsed.WorkspaceFolder());

    /// <summary>The same; a workspace that is not there is made.</summary>
    public static async Task<IArmoFlowClient> OpenOrMakeClient(this ParseResult parsed, CancellationToken cancel) =>
        parsed.ServerAddress() is { } server ? Connect(server) : await WorkspaceClient.OpenOrMake(parsed.WorkspaceFolder(), cancel);

    /// <summary>A client of a server, with the key of ARMOFLOW_KEY.</summary>
    /// <exception cref="UsageException">The address is none.</exception>
    public static ArmoFlowClient Connect(string server)
    {
        bool isAddress = Uri.TryCreate(server, UriKind.Absolute, out Uri? address)
            && address.Scheme is "http" or "https" && address.Host.Length > 0;
        return isAddress
            ? new ArmoFlowClient(address!, Environment.GetEnvironmentVariable("ARMOFLOW_KEY"))
            : throw new UsageException(
                $"--server {Secrets.Mask(server)}: not an address; expected a URL such as http://localhost:5080.");
    }
}
