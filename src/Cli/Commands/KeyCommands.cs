using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Access;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Keys to the API; made where the database is, since the first one cannot be asked for over it.</summary>
internal static class KeyCommands
{
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
        Option<string> workspace = Options.Workspace();
        Option<string?> postgres = ServerSettings.PostgresOption();
        Option<bool> json = Options.Json();
        Command command = new("create", "Makes a key and prints it, once.") { name, scope, days, first, workspace, postgres, json };
        command.SetAction(async (parsed, cancel) =>
        {
            if (parsed.GetValue(days) is { } span && span is not (> 0 and < 36500))
                throw new UsageException($"--days {span}: expected a number above 0.");
            await using ServiceProvider books = await OpenDatabase(parsed, workspace, postgres);
            if (parsed.GetValue(first) && await books.GetRequiredService<AccessKeyStore>().HasUsableAdmin(cancel))
            {
                Console.Error.WriteLine("there is a usable key of scope Admin already: none was made.");
                return ExitCodes.Done;
            }
            (AccessKey key, string text) = await books.GetRequiredService<AccessKeyStore>().Create(parsed.GetRequiredValue(name),
                parsed.GetValue(scope), parsed.GetValue(days) is { } d ? TimeSpan.FromDays(d) : null, cancel);
            if (parsed.GetValue(json))
                Terminal.PrintJson(new { key.Id, key.Name, scope = key.Scope.ToString(), key.ExpiresAt, key = text });
            else
            {
                Console.Out.WriteLine(text);
                Console.Error.WriteLine("keep it: it is not shown again. Clients take it from ARMOFLOW_KEY.");
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command List()
    {
        Option<string> workspace = Options.Workspace();
        Option<string?> postgres = ServerSettings.PostgresOption();
        Option<bool> json = Options.Json();
        Command command = new("list", "Lists keys, without their secrets.") { workspace, postgres, json };
        command.SetAction(async (parsed, cancel) =>
        {
            await using ServiceProvider books = await OpenDatabase(parsed, workspace, postgres);
            IReadOnlyList<AccessKey> keys = await books.GetRequiredService<AccessKeyStore>().List(cancel);
            if (parsed.GetValue(json))
            {
                Terminal.PrintJson(keys.Select(k => new
                {
                    k.Id,
                    k.Name,
                    scope = k.Scope.ToString(),
                    k.CreatedAt,
                    k.CreatedBy,
                    k.ExpiresAt,
                    k.LastUsedAt,
                    k.RevokedAt
                }));
            }
            else
            {
                Table table = RunTables.New("id", "name", "scope", "created", "by", "expires", "last used", "");
                foreach (AccessKey k in keys)
                {
                    table.AddRow(k.Id, Markup.Escape(k.Name), k.Scope.ToString(), Day(k.CreatedAt), Markup.Escape(k.CreatedBy),
                        Day(k.ExpiresAt), Day(k.LastUsedAt),
                        StateOf(k));
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Revoke()
    {
        Argument<string> id = new("id") { Description = "The key's id; see: armoflow keys list." };
        Option<string> workspace = Options.Workspace();
        Option<string?> postgres = ServerSettings.PostgresOption();
        Command command = new("revoke", "Revokes a key, at once and for good.") { id, workspace, postgres };
        command.SetAction(async (parsed, cancel) =>
        {
            await using ServiceProvider books = await OpenDatabase(parsed, workspace, postgres);
            if (!await books.GetRequiredService<AccessKeyStore>().Revoke(parsed.GetRequiredValue(id), cancel))
                throw new UsageException($"no usable key '{parsed.GetRequiredValue(id)}'. See: armoflow keys list.");
            return ExitCodes.Done;
        });
        return command;
    }

    private static string StateOf(AccessKey key)
    {
        if (key.RevokedAt is not null) return "revoked";
        return key.IsUsable(TimeProvider.System.GetUtcNow()) ? "" : "expired";
    }

    private static async Task<ServiceProvider> OpenDatabase(ParseResult parsed, Option<string> workspace, Option<string?> postgres) =>
        parsed.GetValue(postgres) is { Length: > 0 } connection && parsed.GetResult(workspace)?.Implicit != false
            ? new ServiceCollection().AddLogging().AddServerPersistence(connection, PrivateFolder.PathOf("no-artifacts"),
                CacheOptions.Default).BuildServiceProvider()
            : await EmbeddedHost.OpenDatabase(parsed.GetRequiredValue(workspace));

    private static string Day(DateTimeOffset? time) => time?.ToString("u", CultureInfo.InvariantCulture) ?? "";
}
