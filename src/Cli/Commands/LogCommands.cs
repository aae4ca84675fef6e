using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>What workers wrote down while they worked on a run.</summary>
internal static class LogCommands
{
    public static Command Logs()
    {
        Argument<Guid> id = Options.Run();
        Option<string?> step = new("--step") { Description = $"Only this step's: {string.Join(", ", StepCatalogue.Names)}." };
        Option<bool> list = new("--list") { Description = "One line for each log, without their texts." };
        Command command = new("logs", "Prints what the workers wrote down at each attempt at a run's steps, also those that were killed.")
        {
            id,
            step,
            list
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            if (parsed.GetValue(step) is { } name && !StepCatalogue.Names.Contains(name))
                throw new UsageException($"--step {name}: not a step. There are: {string.Join(", ", StepCatalogue.Names)}.");
            await using IArmoFlowClient client = await parsed.OpenClient();
            await client.FindRun(parsed.GetRequiredValue(id), cancel);
            IReadOnlyList<StepLogDocument> logs = await client.Logs(parsed.GetRequiredValue(id), parsed.GetValue(step), cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(logs);
            else if (logs.Count == 0)
                Console.Error.WriteLine("no log of this run; work that is over, or that has lasted a second, has one");
            else if (parsed.GetValue(list)) Tabulate(logs);
            else
            {
                foreach (StepLogDocument log in logs)
                {
                    Console.Out.Write((await client.TextOf(log, cancel) ?? $"(the log's artifact {log.Sha256} is gone from the store)\n")
                        + "\n");
                }
            }
            return ExitCodes.Done;
        });
    }

    private static void Tabulate(IReadOnlyList<StepLogDocument> logs)
    {
        Table table = RunTables.New("step", "attempt", "shard", "outcome", "began", "seconds", "artifact");
        foreach (StepLogDocument l in logs)
        {
            table.AddRow(l.Step, $"{l.Attempt}", l.Slot > 0 ? $"{l.Slot}" : "", l.Outcome.Text(),
                l.StartedAt.ToString("u", CultureInfo.InvariantCulture),
                l.EndedAt is { } end ? (end - l.StartedAt).TotalSeconds.ToString("f1", CultureInfo.InvariantCulture) : "", l.Sha256 ?? "");
        }
        Terminal.Out.Write(table);
    }
}
