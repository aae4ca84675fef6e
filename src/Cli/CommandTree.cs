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
        DemoCommands.Demo().WithoutServer("the demo runs in this process."),
        DemoCommands.Init().WithoutServer("the sample project is written on this machine."),
        RunCommands.Run(),
        RunCommands.Runs(),
        ArtifactCommands.Artifacts(),
        StepCommands.Step().WithoutServer("a step works on files of this machine."),
        ScoreCommands.Score(),
        ModelCommands.Models(),
        AuditCommands.Audit(),
        LineageCommand.Lineage(),
        KeyCommands.Keys(),
        ScheduleCommands.Schedules(),
        DatasetCommands.Datasets(),
        PolicyCommands.Policies(),
        RetentionCommands.Gc(),
        RetentionCommands.Holds(),
        ForgetCommand.Forget(),
        ServeCommand.Serve().WithoutServer("this is a server."),
        ServerCommands.Orchestrator().WithoutServer("this is a server."),
        ServerCommands.Worker().WithoutServer("a worker talks to RabbitMQ and Postgres, not to the HTTP API."),
        DevCommands.Dev().WithoutServer("the servers are started on this machine."),
        SpecCommands.Spec().WithoutServer("the spec's files are read on this machine."),
        DoctorCommand.Doctor().WithoutServer("it is this machine that is looked at."),
        DatabaseCommands.Db().WithoutServer("a schema is changed at its database: --postgres or --workspace."),
    };

    public static ParseResult Parse(IReadOnlyList<string> words) => Root.Parse(words, Words);
}
