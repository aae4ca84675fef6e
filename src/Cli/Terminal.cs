using System.CommandLine.Parsing;
using System.Text.Json;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.RewardModel;
using Microsoft.Data.Sqlite;
using Microsoft.EntityFrameworkCore;
using Spectre.Console;

namespace ArmoFlow.Cli;

internal static class ExitCodes
{
    public const int Done = 0, Failed = 1, BadInput = 2;
}

/// <summary>A mistake on the command line itself, or in what it names.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>A server that was waited for and did not come.</summary>
internal sealed class ServerAwayException(string message) : Exception(message);

/// <summary>Where output goes: results to stdout, everything else to stderr.</summary>
internal static class Terminal
{
    private const int DiskFullError = 28, SqliteFull = 13, SqliteBusy = 5;

    public static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web) { WriteIndented = true, Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Tables and bars; to stderr where stdout is promised to one JSON document.</summary>
    public static IAnsiConsole Error { get; } = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });

    /// <summary>Results for a reader. Without a terminal lines are not folded at 80 columns.</summary>
    public static IAnsiConsole Out { get; } = WideWhereNoTerminal(AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Out) }), Console.IsOutputRedirected);

    public static void PrintJson(object value) => Console.Out.WriteLine(JsonSerializer.Serialize(value, Json));

    /// <summary>Says on stderr what of an answer the audit trail does not prove.</summary>
    /// <param name="disagrees">Why not, for each row that the answer rests on; null where it is proved.</param>
    public static void WarnOf(IEnumerable<string?> disagrees)
    {
        foreach (string why in disagrees.OfType<string>().Distinct())
            Console.Error.WriteLine($"armoflow: not proved by the audit trail: {why}. See: armoflow audit verify.");
    }

    /// <summary>The message of an error that the user can mend, or null.</summary>
    public static string? AsUserError(Exception e) => e switch
    {
        InvalidInputException or SpecException or UsageException or RefusedException => e.Message,
        ArtifactLostException => $"{e.Message}. Run the spec again: the step that made it makes it anew.",
        AggregateException { InnerException: { } inner } => AsUserError(inner),
        DbUpdateException { InnerException: { } inner } => AsUserError(inner),
        IOException when (e.HResult & 0xffff) == DiskFullError => $"no space left on the disk: {e.Message} Free some space and run the same command again.",
        SqliteException { SqliteErrorCode: SqliteFull } => "no space left on the disk for the workspace's books. Free some space and run the same command again.",
        SqliteException { SqliteErrorCode: SqliteBusy } => "the workspace's books are held by another process. Wait for it, or use another --workspace.",
        Npgsql.PostgresException postgres => $"Postgres: {postgres.MessageText}. Check the connection string (--postgres or ARMOFLOW_POSTGRES).",
        Npgsql.NpgsqlException => $"Postgres does not answer: {e.Message}. Check the connection string (--postgres or ARMOFLOW_POSTGRES), and that the server runs.",
        MassTransit.ConnectionException => $"RabbitMQ does not answer: {e.Message}. Check the address (--rabbitmq or ARMOFLOW_RABBITMQ), and that the server runs.",
        InvalidOperationException { InnerException: Npgsql.NpgsqlException inner } => AsUserError(inner),
        UnauthorizedAccessException => $"{e.Message} Check the permissions, or choose another folder.",
        FileNotFoundException or DirectoryNotFoundException => $"{e.Message} Check the path.",
        HttpRequestException => $"the server does not answer: {e.Message} Check --server, or start one with: armoflow serve.",
        _ => null,
    };

    /// <summary>
    /// Writes the stack where this user alone finds it, and returns the file's path; null where there is no place for it.
    /// </summary>
    public static string? WriteCrash(Exception e)
    {
        try
        {
            using FileStream file = PrivateFolder.CreateFile("crashes", ".log");
            file.Write(System.Text.Encoding.UTF8.GetBytes(e.ToString()));
            return file.Name;
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException or RefusedException) { return null; }
    }

    public static IEnumerable<string> CommandPath(CommandResult result)
    {
        Stack<string> names = new();
        for (SymbolResult? at = result; at is CommandResult { Parent: not null } command; at = command.Parent) names.Push(command.Command.Name);
        return names;
    }

    private static IAnsiConsole WideWhereNoTerminal(IAnsiConsole console, bool redirected)
    {
        if (redirected) console.Profile.Width = 200;
        return console;
    }
}
