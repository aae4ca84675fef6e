using System.CommandLine;

namespace ArmoFlow.Cli.Commands;

internal static class DevCommands
{
    public static Command Dev() => new("dev", "A private Postgres and RabbitMQ for development.") { Up(), Down() };

    private static Option<string> Folder() =>
        new("--folder") { Description = "Where the servers keep their files.", DefaultValueFactory = _ => DevServers.DefaultFolder };

    private static Command Up()
    {
        Option<string> folder = Folder();
        Command command = new("up", "Starts both from the system's packages and prints how to reach them.") { folder };
        command.SetAction(async (parsed, cancel) =>
        {
            DevServers servers = new(parsed.GetRequiredValue(folder));
            await servers.Up(cancel);
            Console.Out.WriteLine($"export ARMOFLOW_POSTGRES='{servers.PostgresConnection}'\nexport "
                + $"ARMOFLOW_RABBITMQ='{servers.RabbitMqAddress}'\nexport "
                + $"ARMOFLOW_ARTIFACTS='{Path.Combine(Path.GetFullPath(parsed.GetRequiredValue(folder)), "artifacts")}'");
            Console.Error.WriteLine("next, with these set: armoflow db migrate; armoflow orchestrator; armoflow worker");
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Down()
    {
        Option<string> folder = Folder();
        Command command = new("down", "Stops both; their data stays.") { folder };
        command.SetAction(async (parsed, cancel) =>
        {
            await new DevServers(parsed.GetRequiredValue(folder)).Down(cancel);
            return ExitCodes.Done;
        });
        return command;
    }
}
