using System.CommandLine;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ArmoFlow.Cli.Runs;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel.Tensors;
using Microsoft.Extensions.DependencyInjection;

namespace ArmoFlow.Cli.Commands;

/// <summary>One archive with everything that is known of a model, for somebody who has neither server nor database.</summary>
internal static class EvidenceCommand
{
    public static Command Evidence()
    {
        Argument<string> model = new("model") { Description = "NAME[@ALIAS or @VERSION]." };
        Option<string> output = new("--out", "-o") { Description = "The archive to write (.zip).", Required = true };
        Option<string> workspace = Options.Workspace();
        Command command = new("evidence", "Packs what is known of a model: version and aliases, run, spec, lineage down to the source files' hashes, report, logs, the audit trail with its head, and how to check it all.") { model, output, workspace };
        command.SetAction(async (parsed, cancel) =>
        {
            string folder = parsed.GetRequiredValue(workspace), path = parsed.GetRequiredValue(output);
            await using WorkspaceClient client = new(folder);
            await using ServiceProvider books = EmbeddedHost.OpenBooks(folder);
            ModelVersion version = await books.GetRequiredService<ModelRegistry>().Resolve(parsed.GetRequiredValue(model), cancel);
            Dictionary<string, byte[]> files = await Gather(client, books, version, cancel);
            AtomicFile.Write(path, stream => Pack(files, stream));
            Console.Error.WriteLine($"{files.Count} files on {version.Model}@{version.Version} in {path}");
            return ExitCodes.Done;
        });
        return command;
    }

    private static async Task<Dictionary<string, byte[]>> Gather(WorkspaceClient client, ServiceProvider books, ModelVersion version, CancellationToken cancel)
    {
        RunDocument run = await client.Find(version.RunId, cancel);
        Dictionary<string, byte[]> files = new()
        {
            ["model.json"] = Json(new { version, aliases = (await books.GetRequiredService<ModelRegistry>().History(version.Model, cancel)).Where(p => p.Version == version.Version) }),
            ["evaluations.json"] = Json(new { evaluations = (await books.GetRequiredService<AlertBooks>().Evaluations(version.Model, int.MaxValue, cancel)).Where(e => e.Version == version.Version), alerts = (await books.GetRequiredService<AlertBooks>().Alerts(version.Model, int.MaxValue, cancel)).Where(a => a.Version == version.Version) }),
            ["run.json"] = Json(run),
            ["spec.json"] = Json(await client.FindSpec(version.RunId, cancel)),
        };
        if (run.Artifacts.TryGetValue(ArtifactNames.Evaluation, out ArtifactDocument? evaluation)) files["lineage.json"] = Json(await books.GetRequiredService<Lineage>().Trace(evaluation.Sha256, up: true, version.RunId, cancel));
        foreach (string name in new[] { ArtifactNames.Report, ArtifactNames.Evaluation, ArtifactNames.BenchmarkOutcomes, ArtifactNames.IngestionReport })
            if (run.Artifacts.TryGetValue(name, out ArtifactDocument? artifact))
                files[$"artifacts/{name}.{(name == ArtifactNames.Report ? "md" : "json")}"] = await File.ReadAllBytesAsync(await books.GetRequiredService<ArtifactStore>().Open(artifact.Sha256, cancel), cancel);
        StringBuilder logs = new();
        foreach (Persistence.Work.StepLog log in await client.Logs(version.RunId, null, cancel)) logs.AppendLine(await client.TextOf(log, cancel));
        files["logs.txt"] = Encoding.UTF8.GetBytes(logs.ToString());
        using MemoryStream trail = new();
        SignedHead head = AuditCommands.Signed(await books.GetRequiredService<AuditBooks>().Export(trail, cancel));
        (files["audit.jsonl"], files["audit.jsonl.head.json"]) = (trail.ToArray(), Json(head));
        files["README.md"] = Encoding.UTF8.GetBytes(Instructions(version, run));
        files["SHA256SUMS"] = Encoding.UTF8.GetBytes(string.Concat(files.OrderBy(f => f.Key, StringComparer.Ordinal).Select(f => $"{Convert.ToHexStringLower(SHA256.HashData(f.Value))}  {f.Key}\n")));
        return files;
    }

    private static string Instructions(ModelVersion version, RunDocument run) => $"""
        # Evidence on {version.Model}, version {version.Version}

        Made by run {run.RunId} ({run.SubmittedAt:u} to {run.EndedAt:u}). What its parts are, by sha256:

        {string.Join('\n', run.Artifacts.Select(a => $"- {a.Key}: {a.Value.Sha256} ({a.Value.Bytes} bytes)"))}

        | file | what |
        |---|---|
        | model.json | the version, and since when, until when, by whose decision and on what verdicts an alias meant it |
        | run.json, spec.json | the run with all its figures; what it was asked to do |
        | lineage.json | each step from the evaluation back to the source files: parameters, inputs and outputs by hash, version, hardware |
        | artifacts/ | the report, the evaluation with its manifest, each benchmark pair's outcome, what ingestion read and left out |
        | logs.txt | what the workers wrote down: machine, process, program version, step keys |
        | audit.jsonl, audit.jsonl.head.json | all events, and the head that they end with |

        To check it:

        1. `sha256sum -c SHA256SUMS`: the files are as they were packed.
        2. `armoflow audit verify --export audit.jsonl` (needs no server): no event was altered, removed, added or moved. With
           `--public-key PEM`, that the head was signed by its holder; with `--head FILE`, that the trail holds a head kept elsewhere.
        3. Events of this model: those whose subject is `model/{version.Model}` or `run/{run.RunId}`.
        4. The weights: `sha256sum` of the artifacts, against the hashes above.
        5. `armoflow runs reproduce {run.RunId}` where the books are: the same bytes again, from the same sources.

        """;

    private static void Pack(Dictionary<string, byte[]> files, Stream stream)
    {
        using ZipArchive archive = new(stream, ZipArchiveMode.Create, leaveOpen: true);
        foreach ((string name, byte[] content) in files)
        {
            using Stream entry = archive.CreateEntry(name).Open();
            entry.Write(content);
        }
    }

    private static byte[] Json(object value) => JsonSerializer.SerializeToUtf8Bytes(value, Terminal.Json);
}
