using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Documents;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Runs;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;

namespace ArmoFlow.Orchestrator.Models;

/// <summary>One archive with everything that is known of a model, for somebody who has neither server nor database.</summary>
public sealed class EvidencePack(
    ModelRegistry registry,
    RunQueries runs,
    AlertStore alerts,
    Lineage lineage,
    ArtifactStore artifacts,
    StepLogStore logs,
    AuditStore audit)
{
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    /// <summary>The artifacts that are packed whole.</summary>
    private static readonly string[] Packed =
        [ArtifactNames.Report, ArtifactNames.Evaluation, ArtifactNames.BenchmarkOutcomes, ArtifactNames.IngestionReport];

    /// <summary>Packs a version; memory does not grow with the audit trail.</summary>
    /// <param name="version">The version.</param>
    /// <param name="score">A score of it that is asked about; null for the model alone.</param>
    /// <param name="target">Where the archive (zip) goes.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task Pack(ModelVersion version, object? score, Stream target, CancellationToken cancel)
    {
        RunDocument run = await runs.Find(version.RunId, cancel)
            ?? throw new RegistryException(
                $"version {version.Version} of {version.Model}: its run {version.RunId} is not in the database.");
        using Archive archive = new(target, cancel);
        await archive.AddText("README.md", Instructions(version, run));
        await archive.AddJson("model.json",
            new { version, aliases = (await registry.History(version.Model, cancel)).Where(p => p.Version == version.Version) });
        await archive.AddJson("evaluations.json",
            new
            {
                evaluations = (await alerts.Evaluations(version.Model, int.MaxValue, cancel)).Where(e => e.Version == version.Version),
                alerts = (await alerts.Alerts(version.Model, int.MaxValue, cancel)).Where(a => a.Version == version.Version)
            });
        await archive.AddJson("run.json", run);
        await archive.AddJson("spec.json", await runs.FindSpec(version.RunId, cancel));
        if (score is not null) await archive.AddJson("score.json", score);
        if (run.Artifacts.TryGetValue(ArtifactNames.Evaluation, out ArtifactDocument? evaluation))
            await archive.AddJson("lineage.json", await lineage.Trace(evaluation.Sha256, LineageDirection.Up, version.RunId, cancel));
        foreach (string name in Packed.Where(run.Artifacts.ContainsKey))
        {
            string file = $"artifacts/{name}.{(name == ArtifactNames.Report ? "md" : "json")}";
            await archive.AddFile(file, await artifacts.Open(run.Artifacts[name].Sha256, cancel));
        }
        await archive.Add("logs.txt", entry => WriteLogs(version.RunId, entry, cancel));
        await AddTrail(archive, version, cancel);
        await archive.AddSums();
    }

    /// <summary>The whole trail with its head, and the rows that the pack's answers rest on, as of the same moment.</summary>
    private async Task AddTrail(Archive archive, ModelVersion version, CancellationToken cancel)
    {
        SignedHead? head = null;
        HashSet<string> steps = [.. (await runs.StepKeys(version.RunId, cancel)).Select(RowValues.TextOf)];
        using FileStream rows = TemporaryRows();
        await archive.Add("audit.jsonl", async entry => head = AuditSigning.Signed(await audit.Export(entry, asParquet: false, cancel, rows,
            which: row => IsOf(row, version, steps))));
        rows.Position = 0;
        await archive.Add("rows.jsonl", entry => rows.CopyToAsync(entry, cancel));
        await archive.AddJson("audit.jsonl.head.json", head);
    }

    /// <summary>An archive that knows the sha256 of each of its files.</summary>
    private sealed class Archive(Stream target, CancellationToken cancel) : IDisposable
    {
        private readonly ZipArchive _zip = new(target, ZipArchiveMode.Create, leaveOpen: true);
        private readonly SortedDictionary<string, string> _sums = new(StringComparer.Ordinal);

        public async Task Add(string name, Func<Stream, Task> write)
        {
            using SHA256 sum = SHA256.Create();
            await using (Stream entry = await _zip.CreateEntry(name).OpenAsync(cancel))
            await using (CryptoStream summed = new(entry, sum, CryptoStreamMode.Write)) await write(summed); // what passes is summed
            _sums[name] = Convert.ToHexStringLower(sum.Hash!);
        }

        public Task AddText(string name, string text) =>
            Add(name, entry => entry.WriteAsync(Encoding.UTF8.GetBytes(text), cancel).AsTask());

        public Task AddJson(string name, object? value) =>
            Add(name, entry => JsonSerializer.SerializeAsync(entry, value, Format, cancel));

        public Task AddFile(string name, string path) => Add(name, async entry =>
        {
            await using FileStream content = File.OpenRead(path);
            await content.CopyToAsync(entry, cancel);
        });

        /// <summary>The file that the others are checked with.</summary>
        public Task AddSums() => AddText("SHA256SUMS", string.Concat(_sums.Select(f => $"{f.Value}  {f.Key}\n")));

        public void Dispose() => _zip.Dispose();
    }

    private async Task WriteLogs(Guid run, Stream entry, CancellationToken cancel)
    {
        foreach (StepLog log in await logs.Of(run, null, cancel))
            await entry.WriteAsync(Encoding.UTF8.GetBytes(await logs.TextOf(log, cancel) + "\n"), cancel);
    }

    /// <summary>True for a row that the pack's answers rest on: the model's, its run's, and those of the run's steps.</summary>
    private static bool IsOf(RowValues row, ModelVersion version, HashSet<string> steps)
    {
        string? model = row.ValueOf("model"), run = row.ValueOf("run_id") ?? row.ValueOf("correlation_id"), key = row.ValueOf("key");
        bool isModels = model == RowValues.TextOf(version.Model);
        bool isRuns = string.Equals(run, RowValues.TextOf($"{version.RunId}"), StringComparison.OrdinalIgnoreCase);
        bool isSteps = row.Table is "step_results" or "step_artifacts" && key is not null && steps.Contains(key);
        return isModels || isRuns || isSteps;
    }

    /// <summary>Rows and events are read at one moment, and an archive takes one file after the other: the rows wait here.</summary>
    private static FileStream TemporaryRows() => new(Path.GetTempFileName(),
        new FileStreamOptions
        {
            Mode = FileMode.Create,
            Access = FileAccess.ReadWrite,
            Options = FileOptions.DeleteOnClose | FileOptions.Asynchronous,
        });

    private static string Instructions(ModelVersion version, RunDocument run) => $"""
        # Evidence on {version.Model}, version {version.Version}

        Made by run {run.RunId} ({run.SubmittedAt:u} to {run.EndedAt:u}). What its parts are, by sha256:

        {string.Join('\n', run.Artifacts.Select(a => $"- {a.Key}: {a.Value.Sha256} ({a.Value.Bytes} bytes)"))}

        | file | what |
        |---|---|
        | model.json | the version, and since when, until when, by whose decision and on what verdicts an alias meant it |
        | run.json, spec.json | the run with all its figures; what it was asked to do |
        | lineage.json | each step from the evaluation back to the source files: parameters, inputs and outputs by hash, version, hardware |
        | evaluations.json | what later evaluations of it found, and the alerts that they raised |
        | artifacts/ | the report, the evaluation with its manifest, each benchmark pair's outcome, what ingestion read and left out |
        | score.json | the score that was asked about, with its parts; there only if one was |
        | logs.txt | what the workers wrote down: machine, process, program version, step keys |
        | audit.jsonl, audit.jsonl.head.json | all events, and the head that they end with |
        | rows.jsonl | the rows of the database that the answers above rest on, as of that head |

        To check it:

        1. `sha256sum -c SHA256SUMS`: the files are as they were packed.
        2. `armoflow audit verify --export audit.jsonl --rows rows.jsonl` (needs no server): no event was altered, removed, added or
           moved, and each row is what an event vouches for. With `--public-key PEM`, that the head was signed by its holder; with
           `--head FILE`, that the trail holds a head that was kept elsewhere, of whatever age.
        3. Events of this model: those whose subject is `model/{version.Model}` or `run/{run.RunId}`.
        4. The weights: `sha256sum` of the artifacts, against the hashes above.
        5. `armoflow runs reproduce {run.RunId}` where the database is: the same bytes again, from the same sources.

        """;
}
