using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Runs;
using ArmoFlow.Orchestrator.Runs;
using ArmoFlow.Persistence.Alerts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Audit;
using ArmoFlow.Persistence.Models;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.Persistence.Work;

namespace ArmoFlow.Orchestrator.Models;

/// <summary>One archive with everything that is known of a model, for somebody who has neither server nor database.</summary>
public sealed class EvidencePack(ModelRegistry registry, RunQueries runs, AlertBooks alerts, Lineage lineage, ArtifactStore artifacts, StepLogBooks logs, AuditBooks audit)
{
    private static readonly JsonSerializerOptions Format = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    /// <summary>Packs a version.</summary>
    /// <param name="version">The version.</param>
    /// <param name="score">A score of it that is asked about; null for the model alone.</param>
    /// <param name="cancel">Gives up.</param>
    public async Task<byte[]> Pack(ModelVersion version, object? score, CancellationToken cancel)
    {
        RunDocument run = await runs.Find(version.RunId, cancel) ?? throw new RegistryException($"version {version.Version} of {version.Model}: its run {version.RunId} is not in the books.");
        Dictionary<string, byte[]> files = new()
        {
            ["model.json"] = Json(new { version, aliases = (await registry.History(version.Model, cancel)).Where(p => p.Version == version.Version) }),
            ["evaluations.json"] = Json(new { evaluations = (await alerts.Evaluations(version.Model, int.MaxValue, cancel)).Where(e => e.Version == version.Version), alerts = (await alerts.Alerts(version.Model, int.MaxValue, cancel)).Where(a => a.Version == version.Version) }),
            ["run.json"] = Json(run),
            ["spec.json"] = Json(await runs.FindSpec(version.RunId, cancel)),
        };
        if (score is not null) files["score.json"] = Json(score);
        if (run.Artifacts.TryGetValue(ArtifactNames.Evaluation, out ArtifactDocument? evaluation)) files["lineage.json"] = Json(await lineage.Trace(evaluation.Sha256, up: true, version.RunId, cancel));
        foreach (string name in new[] { ArtifactNames.Report, ArtifactNames.Evaluation, ArtifactNames.BenchmarkOutcomes, ArtifactNames.IngestionReport })
            if (run.Artifacts.TryGetValue(name, out ArtifactDocument? artifact))
                files[$"artifacts/{name}.{(name == ArtifactNames.Report ? "md" : "json")}"] = await File.ReadAllBytesAsync(await artifacts.Open(artifact.Sha256, cancel), cancel);
        StringBuilder text = new();
        foreach (StepLog log in await logs.Of(version.RunId, null, cancel)) text.AppendLine(await logs.TextOf(log, cancel));
        files["logs.txt"] = Encoding.UTF8.GetBytes(text.ToString());
        using MemoryStream trail = new();
        SignedHead head = AuditSigning.Signed(await audit.Export(trail, asParquet: false, cancel));
        (files["audit.jsonl"], files["audit.jsonl.head.json"]) = (trail.ToArray(), Json(head));
        files["README.md"] = Encoding.UTF8.GetBytes(Instructions(version, run));
        files["SHA256SUMS"] = Encoding.UTF8.GetBytes(string.Concat(files.OrderBy(f => f.Key, StringComparer.Ordinal).Select(f => $"{Convert.ToHexStringLower(SHA256.HashData(f.Value))}  {f.Key}\n")));
        using MemoryStream archive = new();
        Write(files, archive);
        return archive.ToArray();
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
        | evaluations.json | what later evaluations of it found, and the alerts that they raised |
        | artifacts/ | the report, the evaluation with its manifest, each benchmark pair's outcome, what ingestion read and left out |
        | score.json | the score that was asked about, with its parts; there only if one was |
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

    private static void Write(Dictionary<string, byte[]> files, Stream stream)
    {
        using ZipArchive archive = new(stream, ZipArchiveMode.Create, leaveOpen: true);
        foreach ((string name, byte[] content) in files)
        {
            using Stream entry = archive.CreateEntry(name).Open();
            entry.Write(content);
        }
    }

    private static byte[] Json(object? value) => JsonSerializer.SerializeToUtf8Bytes(value, Format);
}
