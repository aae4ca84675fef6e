using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Policies that run specs anew when their data sets grow.</summary>
internal static class PolicyCommands
{
    public static Command Policies() =>
        new("policies", "Run specs anew when their data sets have grown enough (section 'retrain' of the spec); a server must run.")
        {
            List(),
            Add(),
            Change("pause", "Pauses a policy.", (client, name, cancel) => client.PausePolicy(name, cancel)),
            Change("resume", "Goes on with a policy; what has arrived in between counts.",
                (client, name, cancel) => client.ResumePolicy(name, cancel)),
            Change("remove", "Removes a policy.", (client, name, cancel) => client.RemovePolicy(name, cancel)),
        };

    private static Command List()
    {
        Command command = new("list", "Lists retrain policies.");
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<PolicyDocument> policies = await client.ListPolicies(cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(policies);
            else if (policies.Count == 0) Console.Error.WriteLine("no policy yet; add one with: armoflow policies add NAME SPEC.yaml");
            else
            {
                Table table = RunTables.New("policy", "spec", "when", "read up to", "last run", "");
                foreach (PolicyDocument p in policies)
                {
                    table.AddRow(Markup.Escape(p.Name), Markup.Escape(p.Spec), Markup.Escape(When(p.When)),
                        Markup.Escape(string.Join(", ", p.Versions.Select(v => $"{v.Key}@{v.Value}"))),
                        p.LastRunAt is { } at ? $"{Format.Time(at)} {p.LastRunId}" : "", p.PausedAt is null ? "" : "paused");
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
    }

    private static Command Add()
    {
        Argument<string> name = new("name") { Description = "The policy's name." },
            spec = new("spec") { Description = "The spec's path; it reads data sets, and its section 'retrain' says when." };
        Command command = new("add",
            "Adds a policy, or puts it in place of the one of its name; what the data sets hold now counts as read.")
        {
            name,
            spec
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name);
            SpecFile file = await SpecFile.Read(parsed.GetRequiredValue(spec), cancel);
            await using IArmoFlowClient client = await parsed.OpenClient();
            PolicyDocument added = await client.PutPolicy(new PolicyRequest { Name = which, Spec = file.Text }, file.Folder, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(added);
            else
            {
                Console.Error.WriteLine(
                    $"{which}: runs {added.Spec} anew with {When(added.When)} in {string.Join(", ", added.Versions.Keys)}");
            }
            return ExitCodes.Done;
        });
    }

    private static Command Change(string action, string description, Func<IArmoFlowClient, string, CancellationToken, Task> change)
    {
        Argument<string> name = new("name") { Description = "The policy's name." };
        Command command = new(action, description) { name };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            await change(client, parsed.GetRequiredValue(name), cancel);
            return ExitCodes.Done;
        }, printsJson: false);
    }

    private static string When(RetrainSpec when) =>
        string.Join(" or ",
            new[]
            {
                when.NewRows is { } rows ? $"{Format.Number(rows)} new rows" : null,
                when.NewShare is { } share ? $"{share.ToString("p0", CultureInfo.InvariantCulture)} more rows" : null
            }.OfType<string>().DefaultIfEmpty("any new file"))
            + (when.AtMostEveryHours > 0 ? string.Create(CultureInfo.InvariantCulture, $", at most every {when.AtMostEveryHours} h") : "")
            + (when.Cron is { } cron ? $", by '{cron}' UTC" : "");
}
