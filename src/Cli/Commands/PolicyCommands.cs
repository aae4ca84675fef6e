using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Datasets;
using Microsoft.Extensions.DependencyInjection;
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
            Change("pause", "Pauses a policy."),
            Change("resume", "Goes on with a policy; what has arrived in between counts."),
            Change("remove", "Removes a policy."),
        };

    private static Command List()
    {
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("list", "Lists retrain policies.") { workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            IReadOnlyList<PolicyDocument> policies = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                books => books.GetRequiredService<PolicyService>().List(cancel),
                client => client.Get<IReadOnlyList<PolicyDocument>>("api/v1/policies", cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(policies);
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
        return command;
    }

    private static Command Add()
    {
        Argument<string> name = new("name") { Description = "The policy's name." },
            spec = new("spec") { Description = "The spec's path; it reads data sets, and its section 'retrain' says when." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("add",
            "Adds a policy, or puts it in place of the one of its name; what the data sets hold now counts as read.")
        {
            name,
            spec,
            workspace,
            server,
            json
        };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name), path = parsed.GetRequiredValue(spec);
            RunSpec read = SpecReader.Load(path);
            PolicyRequest request = new() { Name = which, Spec = await File.ReadAllTextAsync(path, cancel) };
            PolicyDocument added = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace),
                books => books.GetRequiredService<PolicyService>().Put(which, read, cancel),
                client => client.Send<PolicyDocument>(HttpMethod.Post, "api/v1/policies", request, cancel, read.Folder));
            if (parsed.GetValue(json)) Terminal.PrintJson(added);
            else
            {
                Console.Error.WriteLine(
                    $"{which}: runs {added.Spec} anew with {When(added.When)} in {string.Join(", ", added.Versions.Keys)}");
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Change(string action, string description)
    {
        Argument<string> name = new("name") { Description = "The policy's name." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new(action, description) { name, workspace, server };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name), path = ApiAddress.Of($"api/v1/policies/{which}");
            await Books.Ask<object?>(parsed.GetValue(server), parsed.GetRequiredValue(workspace), async books =>
            {
                PolicyService service = books.GetRequiredService<PolicyService>();
                if (action == "remove") await service.Remove(which, cancel);
                else await service.Pause(which, action == "pause", cancel);
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
