using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Clients;
using ArmoFlow.Persistence;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Keys to the API. The first one is made where the database is, since it cannot be asked for without one.</summary>
internal static class KeyCommands
{
    private static readonly Option<string?> Postgres = ServerSettings.PostgresOption();

    public static Command Keys() => new("keys", "Makes, lists and revokes keys to the HTTP API.") { Create(), List(), Revoke() };

    private static Command Create()
    {
        Argument<string> name = new("name") { Description = "Whose it is; the audit trail names it." };
        Option<Scope> scope = new("--scope")
        {
            Description = "Viewer (reads), Operator (runs, scores, promotes) or Admin.",
            DefaultValueFactory = _ => Scope.Viewer
        };
        Option<double?> days = new("--days")
        {
            Description = "How long it is good for; for ever if left out.",
            CustomParser = result => Options.Number(result)
        };
        Option<bool> first =
            new("--first") { Description = "Only where there is no usable key of scope Admin yet: for scripts that are run again." };
        Command command = new("create", "Makes a key and prints it, once.") { name, scope, days, first, Postgres };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await Open(parsed);
            if (parsed.GetValue(first) && await HasUsableAdmin(client, cancel))
            {
                Console.Error.WriteLine("there is a usable key of scope Admin already: none was made.");
                return ExitCodes.Done;
            }
            KeyRequest request =
                new() { Name = parsed.GetRequiredValue(name), Scope = parsed.GetValue(scope), Days = parsed.GetValue(days) };
            NewKey key = await client.CreateKey(request, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(key);
            else
            {
                Console.Out.WriteLine(key.Key);
                Console.Error.WriteLine("keep it: it is not shown again. Clients take it from ARMOFLOW_KEY.");
            }
            return ExitCodes.Done;
        });
    }

    private static Command List()
    {
        Command command = new("list", "Lists keys, without their secrets.") { Postgres };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await Open(parsed);
            IReadOnlyList<KeyDocument> keys = await client.ListKeys(cancel);
            if (parsed.WantsJson())
            {
                Terminal.PrintJson(keys);
                return ExitCodes.Done;
            }
            Table table = RunTables.New("id", "name", "scope", "created", "by", "expires", "last used", "");
            foreach (KeyDocument k in keys)
            {
                table.AddRow(k.Id, Markup.Escape(k.Name), k.Scope.ToString(), Day(k.CreatedAt), Markup.Escape(k.CreatedBy),
                    Day(k.ExpiresAt), Day(k.LastUsedAt), StateOf(k));
            }
            Terminal.Out.Write(table);
            return ExitCodes.Done;
        });
    }

    private static Command Revoke()
    {
        Argument<string> id = new("id") { Description = "The key's id; see: armoflow keys list." };
        Command command = new("revoke", "Revokes a key, at once and for good.") { id, Postgres };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await Open(parsed);
            await client.RevokeKey(parsed.GetRequiredValue(id), cancel);
            return ExitCodes.Done;
        }, printsJson: false);
    }

    /// <summary>What the command line names; else the database that is configured here; else the server or workspace.</summary>
    private static async Task<IArmoFlowClient> Open(ParseResult parsed)
    {
        bool namesAnother = parsed.Names(ClientOptions.Workspace) || parsed.Names(ClientOptions.Server);
        if (namesAnother && parsed.Names(Postgres))
            throw new UsageException("--postgres with --server or --workspace: expected one of them. Leave the others out.");
        return !namesAnother && parsed.GetValue(Postgres) is { Length: > 0 } connection
            ? new PostgresClient(connection)
            : await parsed.OpenClient();
    }

    private static async Task<bool> HasUsableAdmin(IArmoFlowClient client, CancellationToken cancel)
    {
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        return (await client.ListKeys(cancel)).Any(k => k.Scope == Scope.Admin && k.IsUsable(now));
    }

    private static string StateOf(KeyDocument key)
    {
        if (key.RevokedAt is not null) return "revoked";
        return key.IsUsable(TimeProvider.System.GetUtcNow()) ? "" : "expired";
    }

    private static string Day(DateTimeOffset? time) => time?.ToString("u", CultureInfo.InvariantCulture) ?? "";

    /// <summary>Asks a server's database itself, where no server runs yet.</summary>
    private sealed class PostgresClient(string connection) : RecordsClient(ServicesOf(connection))
    {
        private static ServiceProvider ServicesOf(string connection) => new ServiceCollection().AddLogging()
            .AddServerPersistence(connection, PrivateFolder.PathOf("no-artifacts"), CacheOptions.Default)
            .BuildServiceProvider();

        public override async ValueTask DisposeAsync()
        {
            await ((ServiceProvider)Services).DisposeAsync();
            await base.DisposeAsync();
        }
    }
}
