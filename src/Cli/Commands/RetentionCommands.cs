using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Orchestrator.Retention;
using ArmoFlow.Persistence;
using ArmoFlow.Persistence.Retention;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>What is kept, and what goes.</summary>
internal static class RetentionCommands
{
    private const int Shown = 20;

    public static Command Gc()
    {
        CollectRequest defaults = new();
        Option<double> older = OlderThan(defaults);
        Option<int> last = KeepLast(defaults);
        Option<bool> dryRun = new("--dry-run") { Description = "Only say what would go, and why." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("gc",
            "Removes artifacts that nothing kept refers to. Kept are runs in progress, recent ones, those behind the newest versions and "
                + "behind every version that an alias ever meant, what is on legal hold, and data sets.")
        {
            older,
            last,
            dryRun,
            workspace,
            server,
            json,
            Schedule(),
            Policy(),
            Unschedule()
        };
        command.SetAction(async (parsed, cancel) =>
        {
            CollectRequest request =
                new() { OlderThanDays = parsed.GetValue(older), KeepLast = parsed.GetValue(last), DryRun = parsed.GetValue(dryRun) };
            bool writesHere = parsed.GetValue(server) is null && !request.DryRun;
            // or its database cannot even be opened
            if (writesHere) new Workspace(parsed.GetRequiredValue(workspace)).Scratch.SpendReserveIfFull();
            Collection collection = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                books => books.GetRequiredService<Collector>().Collect(request.ToRules(), request.DryRun, cancel),
                client => client.Send<Collection>(HttpMethod.Post, "api/v1/gc", request, cancel));
            if (parsed.GetValue(json))
            {
                Terminal.PrintJson(collection);
                return ExitCodes.Done;
            }
            Table table = RunTables.New("artifact", "bytes", "why it goes");
            foreach (Collected c in collection.Artifacts.OrderByDescending(a => a.Bytes).Take(Shown))
                table.AddRow(c.Sha256[..12], Format.Number(c.Bytes), Markup.Escape(c.Why));
            if (collection.Artifacts.Count > 0) Terminal.Out.Write(table);
            if (collection.Artifacts.Count > Shown)
                Console.Error.WriteLine($"… and {collection.Artifacts.Count - Shown} more (--json lists all)");
            string kept = string.Join(", ", collection.Kept.Select(k => $"{k.Value} {k.Key}"));
            Console.Error.WriteLine($"{Format.Number(collection.Artifacts.Count)} artifacts of {Format.Number(collection.Bytes)} bytes "
                + $"{(collection.DryRun ? "would go" : "are gone")}; {Format.Number(collection.KeptRuns)} runs keep theirs"
                + (kept.Length > 0 ? $" ({kept})" : ""));
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Schedule()
    {
        CollectRequest defaults = new();
        Option<string> cron = new("--cron") { Description = "When: five cron fields, or six with seconds first.", Required = true },
            zone = new("--time-zone") { Description = "IANA name of the zone whose wall clock counts.", DefaultValueFactory = _ => "UTC" };
        Option<double> older = OlderThan(defaults);
        Option<int> last = KeepLast(defaults);
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command =
            new("schedule", "Has servers collect by the clock; a server must run.") { cron, zone, older, last, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            RetentionPolicyRequest request = new()
            {
                Cron = parsed.GetRequiredValue(cron),
                TimeZone = parsed.GetRequiredValue(zone),
                OlderThanDays = parsed.GetValue(older),
                KeepLast = parsed.GetValue(last)
            };
            Show(await Books.Change(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                books => books.GetRequiredService<RetentionPolicyService>().Put(request.ToRules(), request.Cron, request.TimeZone, cancel),
                    client => client.Send<RetentionPolicyDocument>(HttpMethod.Put, "api/v1/gc/policy", request, cancel), cancel),
                    parsed.GetValue(json));
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Policy()
    {
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("policy", "Shows when servers collect, by which rules, and what became of the last collection.")
        {
            workspace,
            server,
            json
        };
        command.SetAction(async (parsed, cancel) =>
        {
            Show(await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                books => books.GetRequiredService<RetentionPolicyService>().Get(cancel),
                client => client.Get<RetentionPolicyDocument>("api/v1/gc/policy", cancel)), parsed.GetValue(json));
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Unschedule()
    {
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new("unschedule", "Collects by the clock no more.") { workspace, server };
        command.SetAction(async (parsed, cancel) =>
        {
            await Books.Ask<object?>(parsed.GetValue(server), parsed.GetRequiredValue(workspace), async books =>
            {
                await books.GetRequiredService<RetentionPolicyService>().Remove(cancel);
                return null;
            }, async client =>
            {
                await client.Do(HttpMethod.Delete, "api/v1/gc/policy", cancel);
                return null;
            });
            return ExitCodes.Done;
        });
        return command;
    }

    private static void Show(RetentionPolicyDocument policy, bool asJson)
    {
        if (asJson)
        {
            Terminal.PrintJson(policy);
            return;
        }
        Table table = RunTables.New("what", "");
        table.AddRow("collects", Markup.Escape($"'{policy.Cron}' {policy.TimeZone}, set by {policy.SetBy}"));
        string days = policy.OlderThanDays.ToString(CultureInfo.InvariantCulture);
        table.AddRow("keeps", $"runs that ended in the last {days} days, the newest {policy.KeepLast} versions of each model, "
            + "and what must be kept");
        table.AddRow("last", policy.LastAt is { } at ? Markup.Escape($"{Format.Time(at)}: {policy.LastOutcome}") : "never");
        table.AddRow("next", string.Join(", ", policy.Next.Select(Format.Time)));
        Terminal.Out.Write(table);
    }

    private static Option<double> OlderThan(CollectRequest defaults) =>
        new("--older-than")
        {
            Description = "Days: runs that ended since are kept.",
            DefaultValueFactory = _ => defaults.OlderThanDays,
            CustomParser = Options.Number
        };

    private static Option<int> KeepLast(CollectRequest defaults) =>
        new("--keep-last")
        {
            Description = "So many newest versions of each model are kept.",
            DefaultValueFactory = _ => defaults.KeepLast
        };

    public static Command Holds() =>
        new("holds", "Legal holds: what is kept whatever the rules of gc say.") { ListHolds(), Put(), Release() };

    private static Command ListHolds()
    {
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("list", "Lists legal holds.") { workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            IReadOnlyList<LegalHoldDocument> holds = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                async books => [.. (await books.GetRequiredService<HoldStore>().List(cancel)).Select(h => h.ToDocument())],
                client => client.Get<IReadOnlyList<LegalHoldDocument>>("api/v1/holds", cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(holds);
            else if (holds.Count == 0) Console.Error.WriteLine("nothing is on hold");
            else
            {
                Table table = RunTables.New("subject", "since", "by", "reason");
                foreach (LegalHoldDocument h in holds)
                {
                    table.AddRow(Markup.Escape(h.Subject), h.At.ToString("u", CultureInfo.InvariantCulture), Markup.Escape(h.By),
                        Markup.Escape(h.Reason));
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Put()
    {
        Argument<string> subject = Subject();
        Option<string> reason = new("--reason") { Description = "Why; the audit trail keeps it.", Required = true };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new("put", "Keeps a run's artifacts, or those of all versions of a model, whatever the rules say.")
        {
            subject,
            reason,
            workspace,
            server
        };
        command.SetAction(async (parsed, cancel) =>
        {
            HoldRequest request = new() { Subject = parsed.GetRequiredValue(subject), Reason = parsed.GetRequiredValue(reason) };
            LegalHoldDocument hold = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                async books => (await books.GetRequiredService<HoldStore>().Hold(request.Subject, request.Reason, cancel)).ToDocument(),
                client => client.Send<LegalHoldDocument>(HttpMethod.Post, "api/v1/holds", request, cancel));
            Console.Error.WriteLine($"{hold.Subject} is on hold");
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Release()
    {
        Argument<string> subject = Subject();
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new("release", "Ends a legal hold.") { subject, workspace, server };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(subject);
            await Books.Ask<object?>(parsed.GetValue(server), parsed.GetRequiredValue(workspace), async books =>
            {
                await books.GetRequiredService<HoldStore>().Release(which, cancel);
                return null;
            }, async client =>
            {
                await client.Do(HttpMethod.Delete, ApiAddress.Of($"api/v1/holds", ("subject", which)), cancel);
                return null;
            });
            Console.Error.WriteLine($"{which} is on hold no more");
            return ExitCodes.Done;
        });
        return command;
    }

    private static Argument<string> Subject() => new("subject") { Description = "run/ID or model/NAME." };
}
