using System.CommandLine;
using System.Globalization;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Orchestrator.Api;
using ArmoFlow.Orchestrator.Datasets;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.RewardModel.Ingestion;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Named data sets, and the policies that run specs anew when they grow.</summary>
internal static class DatasetCommands
{
    public static Command Datasets() => new("datasets", "Named data sets in versions; a spec reads one as dataset:NAME, or dataset:NAME@VERSION.") { List(), Show(), Add(), Watch(), Unwatch(), Watches() };

    public static Command Policies() => new("policies", "Run specs anew when their data sets have grown enough (section 'retrain' of the spec); a server must run.")
    {
        ListPolicies(), AddPolicy(), Change("pause", "Pauses a policy."), Change("resume", "Goes on with a policy; what has arrived in between counts."), Change("remove", "Removes a policy."),
    };

    private static Command List()
    {
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("list", "Lists data sets.") { workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            IReadOnlyList<DatasetDocument> datasets = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace), books => books.GetRequiredService<DatasetBooks>().List(cancel), client => client.Get<IReadOnlyList<DatasetDocument>>("api/v1/datasets", cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(datasets);
            else if (datasets.Count == 0) Console.Error.WriteLine("no data set yet; make one with: armoflow datasets add NAME FILE");
            else
            {
                Table table = RunTables.New("data set", "version", "files", "bytes", "rows", "last added");
                foreach (DatasetDocument d in datasets) table.AddRow(Markup.Escape(d.Name), $"{d.Version}", $"{d.Files}", Number(d.Bytes), d.Rows is { } rows ? Number(rows) : "", d.LastAddedAt is { } at ? Time(at) : "");
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Show()
    {
        Argument<string> name = Name();
        Option<int?> version = new("--version") { Description = "As of this version; the newest if left out." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("show", "Shows a data set's files, oldest first.") { name, version, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name);
            int? of = parsed.GetValue(version);
            IReadOnlyList<DatasetFile> files = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace), books => books.GetRequiredService<DatasetBooks>().Files(which, of, cancel),
                client => client.Get<IReadOnlyList<DatasetFile>>($"api/v1/datasets/{Uri.EscapeDataString(which)}/files{(of is { } v ? $"?version={v}" : "")}", cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(files);
            else
            {
                Table table = RunTables.New("version", "file", "bytes", "rows", "added", "by", "sha256");
                foreach (DatasetFile f in files) table.AddRow($"{f.Version}", Markup.Escape(f.FileName), Number(f.Bytes), f.Rows is { } rows ? Number(rows) : "", Time(f.AddedAt), Markup.Escape(f.AddedBy), f.Sha256);
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Add()
    {
        Argument<string> name = Name();
        Argument<string[]> files = new("files") { Description = "Paths and patterns: .json, .jsonl, also .gz, .parquet.", Arity = ArgumentArity.OneOrMore };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("add", "Adds files to a data set, each new one as a version; the same bytes twice are one.") { name, files, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name);
            List<DatasetAddition> added = [];
            foreach ((string path, _) in FilePatterns.Resolve(Directory.GetCurrentDirectory(), parsed.GetRequiredValue(files)))
            {
                await using FileStream content = File.OpenRead(path);
                added.Add(await Books.Change(parsed.GetValue(server), parsed.GetRequiredValue(workspace), books => books.GetRequiredService<DatasetBooks>().Add(which, Path.GetFileName(path), content, cancel),
                    client => client.Upload<DatasetAddition>($"api/v1/datasets/{Uri.EscapeDataString(which)}/files?fileName={Uri.EscapeDataString(Path.GetFileName(path))}", content, cancel), cancel));
                if (!parsed.GetValue(json)) Console.Error.WriteLine(added[^1].IsNew ? $"{added[^1].FileName}: version {added[^1].Version} of {which}" : $"{Path.GetFileName(path)}: its bytes are there already, since version {added[^1].Version}");
            }
            if (parsed.GetValue(json)) Terminal.PrintJson(added);
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Watch()
    {
        Argument<string> name = Name(), place = Place();
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("watch", "Adds files as they arrive in a folder or a prefix of a bucket; a server must run.") { name, place, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name), address = Address(parsed.GetRequiredValue(place));
            WatchDocument watch = await Books.Change(parsed.GetValue(server), parsed.GetRequiredValue(workspace), books => books.GetRequiredService<DatasetWatcher>().Watch(which, address, cancel),
                client => client.Send<WatchDocument>(HttpMethod.Post, $"api/v1/datasets/{Uri.EscapeDataString(which)}/watches", new WatchRequest { Address = address }, cancel), cancel);
            if (parsed.GetValue(json)) Terminal.PrintJson(watch);
            else Console.Error.WriteLine($"{watch.Address}: files that arrive there are added to {which}");
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Unwatch()
    {
        Argument<string> name = Name(), place = Place();
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Command command = new("unwatch", "Watches a place no more; what was added stays.") { name, place, workspace, server };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name), address = Address(parsed.GetRequiredValue(place));
            await Books.Ask<object?>(parsed.GetValue(server), parsed.GetRequiredValue(workspace), async books =>
            {
                await books.GetRequiredService<DatasetWatcher>().Unwatch(which, address, cancel);
                return null;
            }, async client =>
            {
                await client.Do(HttpMethod.Delete, $"api/v1/datasets/{Uri.EscapeDataString(which)}/watches?address={Uri.EscapeDataString(address)}", cancel);
                return null;
            });
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command Watches()
    {
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("watches", "Lists watched places, with what could not be taken from them.") { workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            IReadOnlyList<WatchDocument> watches = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace), books => books.GetRequiredService<DatasetWatcher>().List(cancel), client => client.Get<IReadOnlyList<WatchDocument>>("api/v1/datasets/watches", cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(watches);
            else if (watches.Count == 0) Console.Error.WriteLine("no place is watched; watch one with: armoflow datasets watch NAME FOLDER");
            else
            {
                Table table = RunTables.New("data set", "place", "by", "wrong");
                foreach (WatchDocument w in watches) table.AddRow(Markup.Escape(w.Dataset), Markup.Escape(w.Address), Markup.Escape(w.CreatedBy), Markup.Escape(string.Join("\n", w.Refused.Prepend(w.Error).OfType<string>())));
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Argument<string> Place() => new("place") { Description = "A folder where the server runs, or s3://bucket/prefix." };

    private static string Address(string place) => S3Bucket.IsAddress(place) ? place : Path.GetFullPath(place);

    private static Command ListPolicies()
    {
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("list", "Lists retrain policies.") { workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            IReadOnlyList<PolicyDocument> policies = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace), books => books.GetRequiredService<PolicyService>().List(cancel), client => client.Get<IReadOnlyList<PolicyDocument>>("api/v1/policies", cancel));
            if (parsed.GetValue(json)) Terminal.PrintJson(policies);
            else if (policies.Count == 0) Console.Error.WriteLine("no policy yet; add one with: armoflow policies add NAME SPEC.yaml");
            else
            {
                Table table = RunTables.New("policy", "spec", "when", "read up to", "last run", "");
                foreach (PolicyDocument p in policies)
                    table.AddRow(Markup.Escape(p.Name), Markup.Escape(p.Spec), Markup.Escape(When(p.When)), Markup.Escape(string.Join(", ", p.Versions.Select(v => $"{v.Key}@{v.Value}"))), p.LastRunAt is { } at ? $"{Time(at)} {p.LastRunId}" : "", p.PausedAt is null ? "" : "paused");
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
        return command;
    }

    private static Command AddPolicy()
    {
        Argument<string> name = new("name") { Description = "The policy's name." }, spec = new("spec") { Description = "The spec's path; it reads data sets, and its section 'retrain' says when." };
        Option<string> workspace = Options.Workspace();
        Option<string?> server = Options.Server();
        Option<bool> json = Options.Json();
        Command command = new("add", "Adds a policy, or puts it in place of the one of its name; what the data sets hold now counts as read.") { name, spec, workspace, server, json };
        command.SetAction(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name), path = parsed.GetRequiredValue(spec);
            RunSpec read = SpecReader.Load(path);
            PolicyRequest request = new() { Name = which, Spec = await File.ReadAllTextAsync(path, cancel) };
            PolicyDocument added = await Books.Ask(parsed.GetValue(server), parsed.GetRequiredValue(workspace), books => books.GetRequiredService<PolicyService>().Put(which, read, cancel), client => client.Send<PolicyDocument>(HttpMethod.Post, "api/v1/policies", request, cancel, read.Folder));
            if (parsed.GetValue(json)) Terminal.PrintJson(added);
            else Console.Error.WriteLine($"{which}: runs {added.Spec} anew with {When(added.When)} in {string.Join(", ", added.Versions.Keys)}");
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
            string which = parsed.GetRequiredValue(name), path = $"api/v1/policies/{Uri.EscapeDataString(which)}";
            await Books.Ask<object?>(parsed.GetValue(server), parsed.GetRequiredValue(workspace), async books =>
            {
                PolicyService service = books.GetRequiredService<PolicyService>();
                if (action == "remove") await service.Remove(which, cancel);
                else await service.Pause(which, action == "pause", cancel);
                return null;
            }, async client =>
            {
                await client.Do(action == "remove" ? HttpMethod.Delete : HttpMethod.Post, action == "remove" ? path : $"{path}/{action}", cancel);
                return null;
            });
            return ExitCodes.Done;
        });
        return command;
    }

    private static string When(RetrainSpec when) => string.Join(" or ", new[] { when.NewRows is { } rows ? $"{Number(rows)} new rows" : null, when.NewShare is { } share ? $"{share.ToString("p0", CultureInfo.InvariantCulture)} more rows" : null }.OfType<string>().DefaultIfEmpty("any new file"))
        + (when.AtMostEveryHours > 0 ? string.Create(CultureInfo.InvariantCulture, $", at most every {when.AtMostEveryHours} h") : "") + (when.Cron is { } cron ? $", by '{cron}' UTC" : "");

    private static Argument<string> Name() => new("name") { Description = "The data set's name." };

    private static string Number(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    private static string Time(DateTimeOffset time) => time.ToString("u", CultureInfo.InvariantCulture);
}
