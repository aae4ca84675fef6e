using System.CommandLine;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Specs that are run by the clock, by whatever server works on the database.</summary>
internal static class ScheduleCommands
{
    private static readonly Option<string> Zone =
        new("--time-zone") { Description = "IANA name, such as Europe/Zurich.", DefaultValueFactory = _ => "UTC" };
    private static readonly Option<Misfire> MisfireOption =
        new("--missed") { Description = "Periods that pass while no server runs: Once (one run for all of them) or Skip." };
    private static readonly Option<Overlap> OverlapOption =
        new("--overlap") { Description = "While the run before is in progress: Skip, Queue (one waits) or Cancel (the one before)." };
    private static readonly Option<double> Jitter = new("--jitter")
    {
        Description = "Each firing waits for a part of these seconds, decided by its name and time.",
        CustomParser = Options.Number
    };

    public static Command Schedules() =>
        new("schedules", "Runs specs by the clock; a server (serve or orchestrator) must run for them to fire.")
        {
            List(),
            Add(),
            Change("remove", "Removes a schedule; its history stays.", (client, name, cancel) => client.RemoveSchedule(name, cancel)),
            Change("pause", "Pauses a schedule.", (client, name, cancel) => client.PauseSchedule(name, cancel)),
            Change("resume", "Goes on with a schedule from now; what was due in between is not made up for.",
                (client, name, cancel) => client.ResumeSchedule(name, cancel)),
            RunNow(),
            History(),
        };

    private static Command List()
    {
        Command command = new("list", "Lists schedules, with their next five firings.");
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<ScheduleDocument> schedules = await client.ListSchedules(cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(schedules);
            else if (schedules.Count == 0)
                Console.Error.WriteLine("no schedule yet; add one with: armoflow schedules add NAME SPEC.yaml --cron '30 2 * * *'");
            else
            {
                Table table = RunTables.New("schedule", "cron", "time zone", "spec", "missed", "overlap", "next");
                foreach (ScheduleDocument s in schedules)
                {
                    table.AddRow(Markup.Escape(s.Name), Markup.Escape(s.Cron), Markup.Escape(s.TimeZone), Markup.Escape(s.Spec),
                        s.Misfire.ToString(), s.Overlap.ToString(),
                        s.PausedAt is { } paused ? $"paused since {Format.Time(paused)}" : string.Join('\n', s.Next.Select(Format.Time)));
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
    }

    private static Command Add()
    {
        Argument<string> name = Name(), spec = new("spec") { Description = "The spec's path." };
        Option<string> cron = new("--cron")
        {
            Description = "Minute, hour, day, month, weekday, such as '30 2 * * 1-5'; six fields begin with seconds.",
            Required = true
        };
        Command command = new("add", "Adds a schedule, or puts it in place of the one of its name; the spec is kept as it is now.")
        {
            name,
            spec,
            cron,
            Zone,
            MisfireOption,
            OverlapOption,
            Jitter
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            SpecFile file = await SpecFile.Read(parsed.GetRequiredValue(spec), cancel);
            ScheduleRequest request = new()
            {
                Name = parsed.GetRequiredValue(name),
                Cron = parsed.GetRequiredValue(cron),
                TimeZone = parsed.GetRequiredValue(Zone),
                Spec = file.Text,
                Misfire = parsed.GetValue(MisfireOption),
                Overlap = parsed.GetValue(OverlapOption),
                JitterSeconds = parsed.GetValue(Jitter),
            };
            await using IArmoFlowClient client = await parsed.OpenClient();
            ScheduleDocument added = await client.PutSchedule(request, file.Folder, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(added);
            else Console.Error.WriteLine($"{added.Name}: next {string.Join(", ", added.Next.Select(Format.Time))}");
            return ExitCodes.Done;
        });
    }

    private static Command Change(string action, string description, Func<IArmoFlowClient, string, CancellationToken, Task> change)
    {
        Argument<string> name = Name();
        Command command = new(action, description) { name };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            await change(client, parsed.GetRequiredValue(name), cancel);
            return ExitCodes.Done;
        }, printsJson: false);
    }

    private static Command RunNow()
    {
        Argument<string> name = Name();
        Command command = new("run-now", "Runs a schedule's spec now, whatever the clock says.") { name };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            string which = parsed.GetRequiredValue(name);
            FiringDocument firing = await client.RunNow(which, cancel);
            if (parsed.ServerAddress() is not null)
            {
                Terminal.PrintJson(firing);
                return ExitCodes.Done;
            }
            if (firing.RunId is not { } run) throw new UsageException($"schedule {which}: {firing.Outcome.Text()} ({firing.Detail}).");
            return RunCommands.Report(await RunView.Follow(client.Watch(run, cancel)), parsed.WantsJson());
        });
    }

    private static Command History()
    {
        Argument<string> name = Name();
        Option<int> limit = Options.Limit(20);
        Command command = new("history", "Lists a schedule's firings, newest first.") { name, limit };
        return command.WithClient(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name);
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<FiringDocument> firings = await client.Firings(which, parsed.GetValue(limit), cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(firings);
            else if (firings.Count == 0) Console.Error.WriteLine($"schedule {which} has not fired");
            else
            {
                Table table = RunTables.New("due", "fired", "outcome", "run", "detail");
                foreach (FiringDocument f in firings)
                {
                    table.AddRow(Format.Time(f.DueAt), Format.Time(f.FiredAt), f.Outcome.Text(), f.RunId?.ToString() ?? "",
                        Markup.Escape(f.Detail ?? ""));
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
    }

    private static Argument<string> Name() => new("name") { Description = "The schedule's name." };
}
