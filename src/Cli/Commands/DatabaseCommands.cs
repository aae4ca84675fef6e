using System.CommandLine;
using ArmoFlow.Persistence;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Commands;

internal static class DatabaseCommands
{
    public static Command Db() => new("db", "Keeps the database's schema.") { Migrate() };

    private static Command Migrate()
    {
        Option<string?> postgres = ServerSettings.PostgresOption();
        Command command = new("migrate",
            "Brings the schema up to date: Postgres's where it is given, or a workspace's (which run does by itself).")
        {
            ClientOptions.Workspace,
            postgres
        };
        command.SetAction(async (parsed, cancel) =>
        {
            if (parsed.GetValue(postgres) is { Length: > 0 } connection && !parsed.Names(ClientOptions.Workspace))
            {
                await using ServiceProvider server = new ServiceCollection().AddLogging().AddServerPersistence(connection,
                    PrivateFolder.PathOf("no-artifacts"), CacheOptions.Default).BuildServiceProvider();
                await server.GetRequiredService<DatabaseSchema>().MigrateServer(connection,
                    () => ServerHost.RaiseProtocol(server, cancel), Console.Error.WriteLine, cancel);
                Console.Error.WriteLine("Postgres is up to date");
                return ExitCodes.Done;
            }
            using Workspace folder = new(parsed.WorkspaceFolder());
            if (!await folder.TakeLock(cancel))
                throw new UsageException($"workspace {folder.Folder} is in use by another process. Stop it first.");
            await using ServiceProvider services =
                new ServiceCollection().AddLogging().AddEmbeddedPersistence(folder).BuildServiceProvider();
            await services.GetRequiredService<DatabaseSchema>().PrepareWorkspace(cancel);
            Console.Error.WriteLine($"{folder.Database} is up to date");
            return ExitCodes.Done;
        });
        return command;
    }
}
