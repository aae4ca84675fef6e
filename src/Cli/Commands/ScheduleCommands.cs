using System.CommandLine;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Orchestrator.Schedules;
using ArmoFlow.Persistence.Schedules;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Specs that are run by the clock, by whatever server works on the database.</summary>
internal static class ScheduleCommands
{
    public static Command Schedules() =>
        new("schedules", "Runs specs by the clock; a server (serve or orchestrator) must run for them to fire.")
        {
            List(), Add(), Change("remove", "Removes a schedule; its history stays."), Change("pause", "Pauses a schedule."),
            Change("resume", "Goes on with a schedule from now; what was due in between is not made up for."), RunNow(), History(),
        };

    private static Command List()
    {
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("list", "Lists schedules, with their next five firings.") { workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            IReadOnlyList<ScheduleDocument> schedules = await Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                service => service.List(cancel), client => client.Get<IReadOnlyList<ScheduleDocument>>("api/v1/schedules", cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(schedules);
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
        return command;
    }

    private static Command Add()
    {
        Argument<string> name = Name(), spec = new("spec") { Description = "The spec's path." };
        Option<string> cron = new("--cron")
        {
            Description = "Minute, hour, day, month, weekday, such as '30 2 * * 1-5'; six fields begin with seconds.",
            Required = true
        };
        Option<string> zone = new("--time-zone") { Description = "IANA name, such as Europe/Zurich.", DefaultValueFactory = _ => "UTC" };
        Option<Misfire> misfire =
            new("--missed") { Description = "Periods that pass while no server runs: Once (one run for all of them) or Skip." };
        Option<Overlap> overlap =
            new("--overlap") { Description = "While the run before is in progress: Skip, Queue (one waits) or Cancel (the one before)." };
        Option<double> jitter = new("--jitter")
        {
            Description = "Each firing waits for a part of these seconds, decided by its name and time.",
            CustomParser = Options.Number
        };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("add", "Adds a schedule, or puts it in place of the one of its name; the spec is kept as it is now.")
        {
            name,
            spec,
            cron,
            zone,
            misfire,
            overlap,
            jitter,
            workspace,
            server,
            json
        };
        command.SetAction(async (parsed, cancel) =>
        {
            string path = parsed.GetRequiredValue(spec);
            RunSpec read = SpecReader.Load(path);
            ScheduleRequest request = new()
            {
                Name = parsed.GetRequiredValue(name),
                Cron = parsed.GetRequiredValue(cron),
                TimeZone = parsed.GetRequiredValue(zone),
                Spec = await File.ReadAllTextAsync(path, cancel),
                Misfire = parsed.GetValue(misfire),
                Overlap = parsed.GetValue(overlap),
                JitterSeconds = parsed.GetValue(jitter),
            };
            Schedule schedule = new()
            {
                Name = request.Name,
                Cron = request.Cron,
                TimeZone = request.TimeZone,
                Spec = read,
                Misfire = request.Misfire,
                Overlap = request.Overlap,
                JitterSeconds = request.JitterSeconds
            };
            ScheduleDocument added = await Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                service => service.Put(schedule, cancel),
                client => client.Send<ScheduleDocument>(HttpMethod.Post, "api/v1/schedules", request, cancel, read.Folder));
            if (parsed.GetValue(json)) Terminal.PrintJson(added);
            else Console.Error.WriteLine($"{added.Name}: next {string.Join(", ", added.Next.Select(Format.Time))}");
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Change(string action, string description)
    {
        Argument<string> name = Name();
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new(action, description) { name, workspace, server };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name), path = ApiAddress.Of($"api/v1/schedules/{which}");
            await Ask<object?>(parsed.GetValue(server), parsed.GetRequiredValue(workspace), async service =>
            {
                if (action == "remove") await service.Remove(which, cancel);
                else await (action == "pause" ? service.Pause(which, cancel) : service.Resume(which, cancel));
                return null;
            }, async client =>
            {
                await client.Do(action == "remove" ? HttpMethod.Delete : HttpMethod.Post, action == "remove" ? path : $"{path}/{action}",
                    cancel);
                return null;
            });
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command RunNow()
    {
        Argument<string> name = Name();
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("run-now", "Runs a schedule's spec now, whatever the clock says.") { name, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name);
            if (parsed.GetValue(server) is { } url)
            {
                await using ServerClient client = new(url);
                FiringDocument asked =
                    await client.Send<FiringDocument>(HttpMethod.Post, ApiAddress.Of($"api/v1/schedules/{which}/run-now"), new { }, cancel);
                Terminal.PrintJson(asked);
                return ExitCodes.Done;
            }
            await using EmbeddedHost host = await EmbeddedHost.Start(parsed.GetRequiredValue(workspace), cancel);
            Firing firing = await host.Services.GetRequiredService<ScheduleRunner>().RunNow(which, cancel);
            if (firing.RunId is not { } run) throw new UsageException($"schedule {which}: {firing.Outcome} ({firing.Detail}).");
            return RunCommands.Report(await RunView.Follow(host.Services.GetRequiredService<RunWatch>().Changes(run, cancel)),
                parsed.GetValue(json));
        });
        return command;
    }

    private static Command History()
    {
        Argument<string> name = Name();
        Option<int> limit = Options.Limit(20);
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("history", "Lists a schedule's firings, newest first.") { name, limit, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name);
            IReadOnlyList<FiringDocument> firings = await Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                async service => [.. (await service.History(which, parsed.GetValue(limit), cancel)).Select(f => f.ToDocument())],
                client =>
                    client.Get<IReadOnlyList<FiringDocument>>(
                        ApiAddress.Of($"api/v1/schedules/{which}/history", ("limit", parsed.GetValue(limit))), cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(firings);
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
        return command;
    }

    private static Argument<string> Name() => new("name") { Description = "The schedule's name." };

    private static Task<T> Ask<T>(string? server, string workspace, Func<ScheduleService, Task<T>> here,
        Func<ServerClient, Task<T>> there) =>
            Books.Ask(server, workspace, books => here(books.GetRequiredService<ScheduleService>()), there);
}
