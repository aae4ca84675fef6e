using System.CommandLine;
using System.Text.RegularExpressions;
using ArmoFlow.Orchestrator.Api;

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
    public static string Plain(string message) =>
        ExpectedType().Replace(message, match => $"; expected {ValueForms.Of(match.Groups[1].Value)}");

    [GeneratedRegex(@" as expected type '([^']+)'\.?", RegexOptions.NonBacktracking)]
    private static partial Regex ExpectedType();
}
