using System.CommandLine;
using System.CommandLine.Parsing;
using System.Text.RegularExpressions;

namespace ArmoFlow.Cli;

/// <summary>What people type before they know the commands, and what they are told.</summary>
internal static partial class CommandWords
{
    /// <summary>No words at all, or 'help' before some, ask for help.</summary>
    public static string[] Rewrite(string[] args) => args switch
    {
        [] => ["--help"],
        ["help", .. string[] command] => [.. command, "--help"],
        _ => args,
    };

    /// <summary>Why a command line cannot be read: the first unknown command alone, else every error.</summary>
    public static IReadOnlyList<string> Errors(ParseResult parsed)
    {
        if (UnknownCommand(parsed) is { } unknown) return [unknown];
        return [.. parsed.Errors.Select(e => Plain(e.Message))];
    }

    private static string? UnknownCommand(ParseResult parsed)
    {
        IEnumerable<Command> commands = parsed.CommandResult.Command.Subcommands;
        bool isGroup = commands.Any();
        string? word = parsed.UnmatchedTokens.FirstOrDefault(t => !t.StartsWith('-'));
        if (!isGroup || word is null) return null;
        return $"unknown command '{word}'. {DidYouMean.Suggest(word, commands.Where(c => !c.Hidden).Select(c => c.Name))}";
    }

    /// <summary>The library names the types of a program; people are told what to type.</summary>
    public static string Plain(string message) => ExpectedType().Replace(message, match => $"; expected {Form(match.Groups[1].Value)}");

    private static string Form(string type)
    {
        if (Nullable().Match(type) is { Success: true } nullable) return Form(nullable.Groups[1].Value);
        return type switch
        {
            "System.Int32" or "System.Int64" or "System.UInt64" => "a whole number",
            "System.Double" or "System.Single" or "System.Decimal" => "a number, such as 0.5",
            "System.Guid" => "an id",
            "System.Boolean" => "true or false",
            "System.DateTimeOffset" or "System.DateTime" => "a time, such as 2026-11-25T16:00:00Z",
            _ => Names(type) is { } names ? $"one of {string.Join(", ", names)}" : "another value",
        };
    }

    /// <summary>Of an enumeration of ours.</summary>
    private static string[]? Names(string type)
    {
        IEnumerable<Type> found = AppDomain.CurrentDomain.GetAssemblies().Select(a => a.GetType(type)).OfType<Type>();
        return found.FirstOrDefault(t => t.IsEnum) is { } enumeration ? Enum.GetNames(enumeration) : null;
    }

    [GeneratedRegex(@" as expected type '([^']+)'\.?", RegexOptions.NonBacktracking)]
    private static partial Regex ExpectedType();

    [GeneratedRegex(@"^System\.Nullable`1\[(?:\[)?([^,\]]+)", RegexOptions.NonBacktracking)]
    private static partial Regex Nullable();
}
