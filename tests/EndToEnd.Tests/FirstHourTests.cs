using System.CommandLine;
using System.Text.Json.Nodes;
using ArmoFlow.Cli;
using Shouldly;
using Xunit;

namespace ArmoFlow.EndToEnd.Tests;

/// <summary>What people type in their first hour, and what they are told.</summary>
public sealed class FirstHourTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("armoflow-first-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Without_a_command_and_by_help_the_commands_are_shown()
    {
        (await CommandLine.Succeed()).Output.ShouldContain("Usage");
        (await CommandLine.Succeed("help")).Output.ShouldContain("demo");
        (await CommandLine.Succeed("help", "runs")).Output.ShouldContain("watch");
    }

    [Theory]
    [InlineData("rns", "unknown command 'rns'", "Did you mean 'runs'?")]
    [InlineData("runs shw", "unknown command 'shw'", "Did you mean 'show'?")]
    [InlineData("runs list --limit many", "expected a whole number")]
    [InlineData("runs list --status done", "status 'done'", "Completed")]
    [InlineData("keys create ada --scope Boss", "Viewer, Operator, Admin")]
    [InlineData("keys create ada --days 0,5", "'0,5' is not a number")]
    [InlineData("gc --older-than 1,5", "'1,5' is not a number")]
    [InlineData("doctor --postgres Host=x;Usrname=y", "not a connection string", "usrname")]
    public async Task What_is_mistyped_is_named_with_what_would_be_right(string line, params string[] words)
    {
        string[] workspace = line.StartsWith("keys", StringComparison.Ordinal) || line.StartsWith("runs list", StringComparison.Ordinal)
            || line.StartsWith("gc", StringComparison.Ordinal) ? ["--workspace", Path.Combine(_folder, "w")] : [];
        CommandResult refused = await CommandLine.Run([.. line.Split(' '), .. workspace]);
        refused.ExitCode.ShouldBe(2, refused.Error);
        foreach (string word in words) (refused.Error + refused.Output).ShouldContain(word, Case.Insensitive);
        refused.Error.ShouldNotContain("System.");
        refused.Error.ShouldNotContain("   at ");
    }

    [Fact]
    public void Whatever_is_typed_for_an_option_or_argument_is_read_or_refused_in_plain_words()
    {
        string[] values =
        [
            "", "x", "-1", "0,5", "1e999", "99999999999999999999", "\0", "'", "../..", "--", "-", "@x", "\ud800", "💩",
            new string('x', 5000)
        ];
        int refused = 0;
        foreach ((string[] path, Command command) in Commands([], CommandTree.Root))
        {
            foreach (string value in values)
            {
                foreach (Option option in command.Options) Try([.. path, option.Name, value]);
                Try([.. path, .. Enumerable.Repeat(value, command.Arguments.Count + 1)]);
            }
        }
        refused.ShouldBeGreaterThan(500);

        void Try(string[] line)
        {
            ParseResult parsed = CommandTree.Parse(line);
            foreach (string error in parsed.Errors.Count == 0 ? [] : CommandWords.Errors(parsed))
            {
                error.ShouldNotContain("System.", Case.Sensitive, string.Join(' ', line));
                error.ShouldNotContain("ArmoFlow.", Case.Sensitive, string.Join(' ', line));
                refused++;
            }
        }
    }

    private static IEnumerable<(string[] Path, Command Command)> Commands(string[] path, Command command)
    {
        yield return (path, command);
        foreach (Command inner in command.Subcommands)
        {
            foreach ((string[], Command) found in Commands([.. path, inner.Name], inner)) yield return found;
        }
    }

    [Theory]
    [InlineData(2, "runs show nonsense --json")]
    [InlineData(2, "runs list --json --limit x")]
    [InlineData(2, "spec validate nowhere.yaml --json")]
    [InlineData(2, "runs list --server http://127.0.0.1:1 --json")]
    public async Task A_failure_is_a_document_too_where_JSON_is_asked_for(int exitCode, string line)
    {
        CommandResult failed = await CommandLine.Run(line.Split(' '));
        failed.ExitCode.ShouldBe(exitCode, failed.Error);
        JsonNode document = failed.Json;
        document["status"]!.GetValue<string>().ShouldBe("Failed");
        failed.Error.ShouldContain(document["error"]!.GetValue<string>().Split(". See")[0].Split('\n')[0]);
    }

    [Fact]
    public async Task A_spec_is_checked_to_its_end()
    {
        string spec = Path.Combine(_folder, "spec.yaml");
        File.WriteAllText(spec, """
            name: two-mistakes
            objectives: [a, verbosity]
            backbone: { path: nowhere }
            ratings: [{ name: r, files: [none.jsonl], format: armorm-ratings }]
            preferences: [{ name: p, files: [neither.jsonl], format: pairs }]
            decorrelation: { verbosity: verbosity, reference: p }
            """);
        await CommandLine.Refused(["spec", "validate", spec], "ratings 'r'", "none.jsonl", "preferences 'p'", "neither.jsonl", "backbone",
            "nowhere");
    }
}
