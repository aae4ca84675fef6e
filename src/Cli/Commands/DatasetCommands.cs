using System.CommandLine;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Client;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.RewardModel.Ingestion;
using Spectre.Console;

namespace ArmoFlow.Cli.Commands;

/// <summary>Named data sets in versions.</summary>
internal static class DatasetCommands
{
    public static Command Datasets() =>
        new("datasets", "Named data sets in versions; a spec reads one as dataset:NAME, or dataset:NAME@VERSION.")
        {
            List(),
            Show(),
            Add(),
            Withdraw(),
            Watch(),
            Unwatch(),
            Watches()
        };

    private static Command List()
    {
        Command command = new("list", "Lists data sets.");
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<DatasetDocument> datasets = await client.ListDatasets(cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(datasets);
            else if (datasets.Count == 0) Console.Error.WriteLine("no data set yet; make one with: armoflow datasets add NAME FILE");
            else
            {
                Table table = RunTables.New("data set", "version", "files", "bytes", "rows", "last added");
                foreach (DatasetDocument d in datasets)
                {
                    table.AddRow(Markup.Escape(d.Name), $"{d.Version}", $"{d.Files}", Format.Number(d.Bytes),
                        d.Rows is { } rows ? Format.Number(rows) : "", d.LastAddedAt is { } at ? Format.Time(at) : "");
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
    }

    private static Command Show()
    {
        Argument<string> name = Name();
        Option<int?> version = new("--version") { Description = "As of this version; the newest if left out." };
        Command command = new("show", "Shows a data set's files, oldest first.") { name, version };
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<DatasetFileDocument> files =
                await client.DatasetFiles(parsed.GetRequiredValue(name), parsed.GetValue(version), cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(files);
            else
            {
                Table table = RunTables.New("version", "file", "bytes", "rows", "added", "by", "sha256");
                foreach (DatasetFileDocument f in files)
                {
                    table.AddRow($"{f.Version}", Markup.Escape(f.FileName), Format.Number(f.Bytes),
                        f.Rows is { } rows ? Format.Number(rows) : "", Format.Time(f.AddedAt), Markup.Escape(f.AddedBy), f.Sha256);
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
    }

    private static Command Add()
    {
        Argument<string> name = Name();
        Argument<string[]> files = new("files")
        {
            Description = "Paths and patterns: .json, .jsonl, also .gz, .parquet; '-' for rows from standard input.",
            Arity = ArgumentArity.OneOrMore
        };
        Option<string> fileName =
            new("--file-name") { Description = "What the rows of standard input are called.", DefaultValueFactory = _ => "rows.jsonl" };
        Command command = new("add", "Adds files to a data set, each new one as a version; the same bytes twice are one.")
        {
            name,
            files,
            fileName
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name);
            string[] given = parsed.GetRequiredValue(files);
            List<DatasetAddition> added = [];
            await using IArmoFlowClient client = await parsed.OpenOrMakeClient(cancel);
            if (given.Contains("-")) await Enter(parsed.GetRequiredValue(fileName), Console.OpenStandardInput());
            foreach ((string path, _) in FilePatterns.Resolve(Directory.GetCurrentDirectory(), [.. given.Where(f => f != "-")]))
                await Enter(Path.GetFileName(path), DatasetStore.Open(path));
            if (parsed.WantsJson()) Terminal.PrintJson(added);
            return ExitCodes.Done;

            async Task Enter(string file, Stream stream)
            {
                await using Stream content = stream;
                added.Add(await client.AddFile(which, file, content, cancel));
                if (!parsed.WantsJson()) Tell(added[^1], file);
            }
        });
    }

    private static void Tell(DatasetAddition added, string file) => Console.Error.WriteLine(added.IsNew
        ? $"{added.FileName}: version {added.Version} of {added.Dataset}"
        : $"{file}: its bytes are there already, since version {added.Version}");

    private static Command Withdraw()
    {
        Argument<string> name = Name(), file = new("file") { Description = "The file's sha256, or its name where one file alone has it." };
        Option<string> reason = new("--reason") { Description = "Why; the audit trail keeps it.", Required = true };
        Command command =
            new("withdraw", "Makes a version without a file; earlier versions keep it.") { name, file, reason };
        return command.WithClient(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name), gone = parsed.GetRequiredValue(file), why = parsed.GetRequiredValue(reason);
            await using IArmoFlowClient client = await parsed.OpenClient();
            DatasetFileDocument withdrawn = await client.WithdrawFile(which, gone, why, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(withdrawn);
            else Console.Error.WriteLine($"{withdrawn.FileName}: not in {which} any more from version {withdrawn.WithdrawnIn} on");
            return ExitCodes.Done;
        });
    }

    private static Command Watch()
    {
        Argument<string> name = Name(), place = Place();
        Command command = new("watch", "Adds files as they arrive in a folder or a prefix of a bucket; a server must run.")
        {
            name,
            place
        };
        return command.WithClient(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name), address = Address(parsed.GetRequiredValue(place));
            await using IArmoFlowClient client = await parsed.OpenOrMakeClient(cancel);
            WatchDocument watch = await client.WatchPlace(which, address, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(watch);
            else Console.Error.WriteLine($"{watch.Address}: files that arrive there are added to {which}");
            return ExitCodes.Done;
        });
    }

    private static Command Unwatch()
    {
        Argument<string> name = Name(), place = Place();
        Command command = new("unwatch", "Watches a place no more; what was added stays.") { name, place };
        return command.WithClient(async (parsed, cancel) =>
        {
            string which = parsed.GetRequiredValue(name), address = Address(parsed.GetRequiredValue(place));
            await using IArmoFlowClient client = await parsed.OpenClient();
            await client.UnwatchPlace(which, address, cancel);
            return ExitCodes.Done;
        }, printsJson: false);
    }

    private static Command Watches()
    {
        Command command = new("watches", "Lists watched places, with what could not be taken from them.");
        return command.WithClient(async (parsed, cancel) =>
        {
            await using IArmoFlowClient client = await parsed.OpenClient();
            IReadOnlyList<WatchDocument> watches = await client.Watches(cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(watches);
            else if (watches.Count == 0)
                Console.Error.WriteLine("no place is watched; watch one with: armoflow datasets watch NAME FOLDER");
            else
            {
                Table table = RunTables.New("data set", "place", "by", "wrong");
                foreach (WatchDocument w in watches)
                {
                    table.AddRow(Markup.Escape(w.Dataset), Markup.Escape(w.Address), Markup.Escape(w.CreatedBy),
                        Markup.Escape(string.Join("\n", w.Refused.Prepend(w.Error).OfType<string>())));
                }
                Terminal.Out.Write(table);
            }
            return ExitCodes.Done;
        });
    }

    private static Argument<string> Place() => new("place") { Description = "A folder where the server runs, or s3://bucket/prefix." };

    private static string Address(string place) => S3Bucket.IsAddress(place) ? place : Path.GetFullPath(place);

    private static Argument<string> Name() => new("name") { Description = "The data set's name." };
}
