using System.CommandLine;
using ArmoFlow.Persistence;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Commands;

internal static class DatabaseCommands
{
    public static Command Db() => new("db", "Keeps the books' schema.") { Migrate() };

    private static Command Migrate()
    {
        Option<string> workspace = Options.Workspace();
        Command command = new("migrate", "Brings a workspace's schema up to date (run does so by itself).") { workspace };
        command.SetAction(async (parsed, cancel) =>
        {
            using Workspace folder = new(parsed.GetRequiredValue(workspace));
            if (!folder.TryLock()) throw new UsageException($"workspace {folder.Folder} is in use by another process. Stop it first.");
            await using ServiceProvider services = new ServiceCollection().AddLogging().AddEmbeddedPersistence(folder).BuildServiceProvider();
            await EmbeddedHost.Prepare(services, cancel);
            Console.Error.WriteLine($"{folder.Database} is up to date");
            return ExitCodes.Done;
        });
        return command;
    }
}
