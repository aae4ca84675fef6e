using System.CommandLine;
using ArmoFlow.Cli.Commands;

namespace ArmoFlow.Cli;

/// <summary>All commands.</summary>
internal static class CommandTree
{
    /// <summary>'@' begins a cron macro or a user's text as often as a file's name: no argument is taken for a file of arguments.</summary>
    private static readonly ParserConfiguration Words = new() { ResponseFileTokenReplacer = null };

    public static RootCommand Root { get; } = new("Trains, evaluates and keeps the records of interpretable reward models.")
    {
        DemoCommands.Demo(), DemoCommands.Init(), RunCommands.Run(), RunCommands.Runs(), ArtifactCommands.Artifacts(), StepCommands.Step(),
        ScoreCommands.Score(), ModelCommands.Models(), AuditCommands.Audit(), LineageCommand.Lineage(), KeyCommands.Keys(),
        ScheduleCommands.Schedules(), DatasetCommands.Datasets(), PolicyCommands.Policies(), RetentionCommands.Gc(),
        RetentionCommands.Holds(), ForgetCommand.Forget(), ServeCommand.Serve(), ServerCommands.Orchestrator(), ServerCommands.Worker(),
        DevCommands.Dev(), SpecCommands.Spec(), DoctorCommand.Doctor(), DatabaseCommands.Db(),
    };

    public static ParseResult Parse(IReadOnlyList<string> words) => Root.Parse(words, Words);
}
