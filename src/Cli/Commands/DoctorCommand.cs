using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using ArmoFlow.Workers.Features;
using Microsoft.Extensions.DependencyInjection;
using Spectre.Console;
using TorchSharp;

namespace ArmoFlow.Cli.Commands;

internal sealed record Finding(string Check, bool Ok, string Found, string? Remedy);

internal static class DoctorCommand
{
    private const long SmallDisk = 2L << 30, SmallMemory = 2L << 30;

    public static Command Doctor()
    {
        Argument<string?> spec = new("spec") { Description = "Also check this spec's backbone and data.", Arity = ArgumentArity.ZeroOrOne };
        Option<string?> rabbit = ServerSettings.RabbitMqOption(), postgres = ServerSettings.PostgresOption(),
            artifacts = ServerSettings.ArtifactsOption();
        Command command = new("doctor",
            "Checks libtorch, disk and memory, a spec's backbone and data, and the servers where they are configured.")
        {
            spec,
            ClientOptions.Workspace,
            rabbit,
            postgres,
            artifacts,
            ClientOptions.Json
        };
        command.SetAction(async (parsed, cancel) =>
        {
            List<Finding> findings = [Libtorch(), Disk(parsed.WorkspaceFolder()), Memory()];
            if (parsed.GetValue(spec) is { } path) await Spec(path, findings, cancel);
            await Servers(new ServerSettings(parsed.GetValue(rabbit) ?? "", parsed.GetValue(postgres) ?? "",
                parsed.GetValue(artifacts) ?? "", TimeSpan.Zero), findings, cancel);
            if (parsed.WantsJson()) Terminal.PrintJson(findings);
            else
            {
                Table table = RunTables.New("check", "", "found", "remedy");
                foreach (Finding f in findings)
                    table.AddRow(f.Check, f.Ok ? "[green]ok[/]" : "[red]fails[/]", Markup.Escape(f.Found), Markup.Escape(f.Remedy ?? ""));
                Terminal.Out.Write(table);
            }
            return findings.All(f => f.Ok) ? ExitCodes.Done : ExitCodes.Failed;
        });
        return command;
    }

    private static Finding Libtorch()
    {
        try
        {
            using torch.Tensor product = torch.ones(2, 2).matmul(torch.ones(2, 2));
            return new Finding("libtorch", product.sum().item<float>() == 8,
                $"TorchSharp {typeof(torch).Assembly.GetName().Version}, {ComputeType.BestDevice}, {torch.get_num_threads()} threads, "
                    + $"{ComputeType.Hardware}",
                null);
        }
        catch (Exception e) when (e is TypeInitializationException or DllNotFoundException or NotSupportedException or ExternalException)
        {
            return new Finding("libtorch", false, (e.InnerException ?? e).Message.Split('\n')[0],
                "Rebuild with ./armoflow; on a system older than Debian 12 or Ubuntu 22.04, update glibc.");
        }
    }

    private static Finding Disk(string workspace)
    {
        string at = Path.GetFullPath(workspace);
        while (!Directory.Exists(at)) at = Path.GetDirectoryName(at)!;
        DriveInfo drive = new(at);
        return new Finding("disk", drive.AvailableFreeSpace > SmallDisk, Bytes(drive.AvailableFreeSpace) + $" free at {at}",
            drive.AvailableFreeSpace > SmallDisk ? null : "Free some space, or use another --workspace.");
    }

    private static Finding Memory()
    {
        long available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        return new Finding("memory", available > SmallMemory, Bytes(available),
            available > SmallMemory ? null : "Use a machine or a limit with at least 2 GB.");
    }

    private static async Task Spec(string path, List<Finding> findings, CancellationToken cancel)
    {
        RunSpec? spec = null;
        findings.Add(Try("spec", () => (spec = SpecReader.Load(path)).Name));
        if (spec is null) return;
        string folder = Path.GetFullPath(Path.Combine(spec.Folder, spec.Backbone.Path));
        findings.Add(Try("backbone", () =>
        {
            BackboneConfig config = Backbones.Config(folder);
            using Checkpoint checkpoint = new(folder);
            checkpoint.Require(config);
            return $"{Backbones.Of(folder).ModelType}, by model_type in config.json: {config.Parameters:N0} parameters, "
                + $"hidden size {config.HiddenSize}, {Bytes(checkpoint.Bytes)}, {config.Positions}";
        }));
        findings.Add(Try("tokenizer", () =>
        {
            ChatTokenizer tokenizer = Backbones.Tokenizer(folder, spec.Backbone.Encoding());
            return $"{tokenizer.Kind}, {tokenizer.Template.Description}";
        }));
        await Data(spec, findings, cancel);
    }

    private static async Task Data(RunSpec spec, List<Finding> findings, CancellationToken cancel)
    {
        IEnumerable<(string Name, IReadOnlyList<string> Files)> sources =
        [
            .. spec.Ratings.Select(s => (s.Name, s.Files)),
            .. spec.Preferences.Select(s => (s.Name, s.Files)),
            .. spec.Benchmark is { } b ? new[] { ("benchmark", b.Files) } : []
        ];
        foreach ((string name, IReadOnlyList<string> patterns) in sources)
        {
            string found = "";
            try
            {
                IReadOnlyList<(string Path, string ShownAs)> files =
                    FilePatterns.Resolve(spec.Folder, patterns.Where(p => DatasetReference.TryParse(p) is null));
                foreach ((string file, string shownAs) in files)
                    await foreach (SourceRow row in RowReader.Read(file, shownAs, cancel)) break;
                found = $"{files.Count} file{(files.Count == 1 ? "" : "s")}, first rows read";
                findings.Add(new Finding($"data: {name}", true, found, null));
            }
            catch (Exception e)
                when (Terminal.AsUserError(e) is { } message)
            {
                findings.Add(new Finding($"data: {name}", false, message, "See the message."));
            }
        }
    }

    private static async Task Servers(ServerSettings settings, List<Finding> findings, CancellationToken cancel)
    {
        if (settings.Postgres.Length > 0)
        {
            await using ServiceProvider services = new ServiceCollection().AddLogging().AddServerPersistence(settings.Postgres,
                PrivateFolder.PathOf("no-artifacts"), settings.Cache).BuildServiceProvider();
            findings.Add(await Try("Postgres", "answers, schema up to date", () => ServerHost.RequireSchema(services, cancel)));
        }
        if (settings.RabbitMq.Length > 0)
            findings.Add(await Try("RabbitMQ", "answers", () => ServerHost.RequireBroker(settings.RabbitMq, cancel)));
        if (settings.Artifacts.Length > 0)
        {
            findings.Add(await Try("artifact store", $"{settings.Artifacts} can be written",
                () => ServerHost.RequireStore(settings, cancel)));
        }
    }

    private static async Task<Finding> Try(string check, string fine, Func<Task> look)
    {
        try
        {
            await look();
            return new Finding(check, true, fine, null);
        }
        catch (Exception e) when (Terminal.AsUserError(e) is { } message) { return new Finding(check, false, message, "See the message."); }
        catch (Exception e)
            when (ServerHost.WhyAway(e) is { } why)
        {
            return new Finding(check, false, $"does not answer: {why}", "Check the address, and that the server runs.");
        }
    }

    private static Finding Try(string check, Func<string> look)
    {
        try { return new Finding(check, true, look(), null); }
        catch (Exception e) when (Terminal.AsUserError(e) is { } message) { return new Finding(check, false, message, "See the message."); }
    }

    private static string Bytes(long bytes) => (bytes / 1e9).ToString("f1", CultureInfo.InvariantCulture) + " GB";
}
