using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence;
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
        Command command = new("gc",
            "Removes artifacts that nothing kept refers to. Kept are runs in progress, recent ones, those behind the newest versions and "
                + "behind every version that an alias ever meant, what is on legal hold, and data sets.")
        {
            older,
            last,
            dryRun,
            Schedule(),
            Policy(),
            Unschedule()
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            CollectRequest request =
                new() { OlderThanDays = parsed.GetValue(older), KeepLast = parsed.GetValue(last), DryRun = parsed.GetValue(dryRun) };
            bool writesHere = parsed.ServerAddress() is null && !request.DryRun;
            // or its database cannot even be opened
            if (writesHere) new Workspace(parsed.WorkspaceFolder()).Scratch.SpendReserveIfFull();
            await using IArmoFlowClient client = await parsed.OpenClient();
            Collection collection = await client.Collect(request, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(collection);
            else Report(collection);
            return ExitCodes.Done;
        });
    }

    private static void Report(Collection collection)
    {
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
    }

    private static Command Schedule()
    {
        CollectRequest defaults = new();
        Option<string> cron = new("--cron") { Description = "When: five cron fields, or six with seconds first.", Required = true },
            zone = new("--time-zone") { Description = "IANA name of the zone whose wall clock counts.", DefaultValueFactory = _ => "UTC" };
        Option<double> older = OlderThan(defaults);
        Option<int> last = KeepLast(defaults);
        Command command =
            new("schedule", "Has servers collect by the clock; a server must run.") { cron, zone, older, last };
        return command.WithClient(async (parsed, cancel) =>
        {
            RetentionPolicyRequest request = new()
            {
                Cron = parsed.GetRequiredValue(cron),
                TimeZone = parsed.GetRequiredValue(zone),
                OlderThanDays = parsed.GetValue(older),
                KeepLast = parsed.GetValue(last)
            };
            await using IArmoFlowClient client = await parsed.OpenOrMakeClient(cancel);
            Show(await client.SetRetentionPolicy(request, cancel), parsed.WantsJson());
            return ExitCodes.Done;
        });
    }

    private static Command Policy()
    {
        Command command = new("policy", "Shows when servers collect, by which rules, and what became of the last collection.");
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            Show(await client.RetentionPolicy(cancel), parsed.WantsJson());
            return ExitCodes.Done;
        });
    }

    private static Command Unschedule()
    {
        Command command = new("unschedule", "Collects by the clock no more.");
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            await client.RemoveRetentionPolicy(cancel);
            return ExitCodes.Done;
        }, printsJson: false);
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
        Command command = new("list", "Lists legal holds.");
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<LegalHoldDocument> holds = await client.ListHolds(cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(holds);
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
    }

    private static Command Put()
    {
        Argument<string> subject = Subject();
        Option<string> reason = new("--reason") { Description = "Why; the audit trail keeps it.", Required = true };
        Command command = new("put", "Keeps a run's artifacts, or those of all versions of a model, whatever the rules say.")
        {
            subject,
            reason
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            HoldRequest request = new() { Subject = parsed.GetRequiredValue(subject), Reason = parsed.GetRequiredValue(reason) };
            await using IArmoFlowClient client = await parsed.OpenClient();
            LegalHoldDocument hold = await client.Hold(request, cancel);
            Console.Error.WriteLine($"{hold.Subject} is on hold");
            return ExitCodes.Done;
        }, printsJson: false);
    }

    private static Command Release()
    {
        Argument<string> subject = Subject();
        Command command = new("release", "Ends a legal hold.") { subject };
        return command.WithClient(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(subject);
            await using IArmoFlowClient client = await parsed.OpenClient();
            await client.ReleaseHold(which, cancel);
            Console.Error.WriteLine($"{which} is on hold no more");
            return ExitCodes.Done;
        }, printsJson: false);
    }

    private static Argument<string> Subject() => new("subject") { Description = "run/ID or model/NAME." };
}
