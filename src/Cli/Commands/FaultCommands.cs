using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Faults;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Messages that were set aside, and the workers there are.</summary>
internal static class FaultCommands
{
    public static Command Faults()
    {
        Command command = new("faults", "Messages that no retry helped: alike ones grouped, to look at, send again or archive.")
        {
            Show(),
            Decide(FaultDecision.Redeliver, "Sends them to their queues again; one that came back five times is refused."),
            Decide(FaultDecision.Archive, "Marks them as dealt with; their runs can be retried.")
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<FaultGroup> groups = await client.FaultGroups(cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(groups);
            else if (groups.Count == 0) Console.Error.WriteLine("no message was set aside");
            else
            {
                Table table = RunTables.New("group", "queue", "message", "reason", "open", "redelivered", "archived", "latest");
                foreach (FaultGroup g in groups)
                {
                    table.AddRow(g.Fingerprint, Markup.Escape(g.Queue), Markup.Escape(g.MessageType.Split(':')[^1]),
                        Markup.Escape(g.Reason), $"{g.Open}", $"{g.Redelivered}", $"{g.Archived}",
                        g.Last.ToString("u", CultureInfo.InvariantCulture));
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
    }

    private static Argument<string> Which() => new("which") { Description = "A group, a fault's number, or 'all'." };

    private static Command Show()
    {
        Argument<string> which = Which();
        Command command = new("show", "Shows a group's faults with their messages.") { which };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<FaultDocument> faults = await client.Faults(parsed.GetRequiredValue(which), cancel);
            if (faults.Count == 0)
                throw new UsageException($"no fault or group '{parsed.GetRequiredValue(which)}'. See: armoflow runs faults.");
            if (parsed.WantsJson()) Terminal.PrintJson(faults);
            else
            {
                foreach (FaultDocument f in faults)
                {
                    Console.Out.WriteLine($"{f.Id}  {f.FaultedAt:u}  "
                        + $"{f.Status}{(f.DecidedBy is { } by ? $" by {by} {f.DecidedAt:u}" : "")}  {f.Queue}  "
                        + $"{f.Machine}\n{f.Reason}\n{f.Body}\n");
                }
            }
            return ExitCodes.Done;
        });
    }

    private static Command Decide(FaultDecision decision, string description)
    {
        Argument<string> which = Which();
        Command command = new(decision.Text(), description) { which };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            int count = await client.Decide(parsed.GetRequiredValue(which), decision, cancel);
            if (count == 0) throw new UsageException($"no open fault of '{parsed.GetRequiredValue(which)}'. See: armoflow runs faults.");
            Console.Error.WriteLine($"{count} {(decision == FaultDecision.Redeliver ? "redelivered" : "archived")}");
            return ExitCodes.Done;
        }, printsJson: false);
    }

    public static Command Workers()
    {
        Command command =
            new("workers", "The workers at work: what they serve, and what they have in hand.");
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<WorkerDocument> workers = await client.Workers(cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(workers);
            else if (workers.Count == 0) Console.Error.WriteLine("no worker's heartbeat is heard; start one with: armoflow worker");
            else
            {
                Table table = RunTables.New("machine", "process", "version", "steps", "device", "memory", "in hand", "since");
                foreach (WorkerDocument w in workers)
                {
                    table.AddRow(Markup.Escape(w.Machine), $"{w.ProcessId}", Markup.Escape(w.Version), Markup.Escape(w.Steps),
                        Markup.Escape(w.Device), string.Create(CultureInfo.InvariantCulture, $"{w.MemoryBytes / 1e9:f1} GB"),
                        Markup.Escape(w.Current), w.StartedAt.ToString("u", CultureInfo.InvariantCulture));
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
    }
}
