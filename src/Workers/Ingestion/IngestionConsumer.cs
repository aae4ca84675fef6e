using System.Security.Cryptography;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Ingestion;
using ArmoFlow.Contracts.Retention;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.Persistence.Retention;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Files;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using MassTransit;

namespace ArmoFlow.Workers.Ingestion;

public sealed record IngestionReport(IReadOnlyList<string> Objectives, IReadOnlyList<SourceReport> Sources, int DistinctConversations);

/// <summary>Reads every source of the spec into one canonical data set.</summary>
public sealed class IngestionConsumer(StepServices services, DatasetStore datasets, ForgettingStore forgetting)
    : StepConsumer<IngestData, DataIngested>(services)
{
    private const string Rated = "ratings", Paired = "preferences", Benchmarked = "benchmark";

    protected override async Task<StepPlan> Plan(StepRun run)
    {
        Dictionary<string, ArtifactRef> files = [];
        foreach (Source source in await Sources(run))
        {
            foreach ((string path, string shownAs) in source.Files)
                files[$"{source.Kind}/{source.Name}/{shownAs}"] = await Hash(path, shownAs, run.Cancel);
        }
        // What is left out is in the key only where something is: older runs' keys stay as they were.
        object parameters = (run.Spec.Forgotten, run.Spec.ForgottenFiles) switch
        {
            (null, null) => new { run.Objectives, run.Spec.Ratings, run.Spec.Preferences, run.Spec.Benchmark },
            ({ } forgotten, null) => new { run.Objectives, run.Spec.Ratings, run.Spec.Preferences, run.Spec.Benchmark, forgotten },
            var (forgotten, forgottenFiles) =>
                new { run.Objectives, run.Spec.Ratings, run.Spec.Preferences, run.Spec.Benchmark, forgotten, forgottenFiles },
        };
        return new StepPlan(parameters, files);
    }

    protected override async Task<StepWork> Work(StepRun run, ConsumeContext context)
    {
        using OwnFolder folder = run.MakeOwnFolder(); // half-written tables are of no use to the next attempt
        return await Ingest(run, folder.Path);
    }

    private async Task<StepWork> Ingest(StepRun run, string folder)
    {
        List<SourceReport> reports = [];
        HashSet<string> rated = [];
        int distinct;
        IReadOnlyDictionary<string, long> written;
        await using (CanonicalTables tables = new(folder, run.Objectives))
        {
            await ReadAll(run, tables, reports, rated);
            distinct = tables.DistinctConversations;
            written = tables.Rows;
        }
        await CanonicalTables.RequireRows(folder, written);
        RequireSomething(run, reports, rated, await LeftOut(run));
        Dictionary<string, ArtifactRef> outputs = new()
        {
            [ArtifactNames.Conversations] = await Take(CanonicalTables.Conversations),
            [ArtifactNames.Ratings] = await Take(CanonicalTables.Ratings),
            [ArtifactNames.Preferences] = await Take(CanonicalTables.Preferences),
            [ArtifactNames.Benchmark] = await Take(CanonicalTables.Benchmark),
            [ArtifactNames.IngestionReport] = await run.PutJson(new IngestionReport(run.Objectives, reports, distinct)),
        };
        return new StepWork.Done(outputs,
            Summary(reports, distinct),
            new { sources = reports, distinctConversations = distinct });

        Task<ArtifactRef> Take(string name) => run.Put(path => File.Move(Path.Combine(folder, name), path));
    }

    /// <summary>Reads every source into the tables.</summary>
    private async Task ReadAll(StepRun run, CanonicalTables tables, List<SourceReport> reports, HashSet<string> rated)
    {
        HashSet<string> forgotten = [.. run.Spec.Forgotten ?? []];
        long rows = 0;
        foreach (Source source in await Sources(run))
        {
            SourceReport report = new()
            {
                Name = source.Name,
                Kind = source.Kind,
                Format = source.Format,
                Files = [.. source.Files.Select(f => f.ShownAs)],
                ForgottenFiles = source.LeftOut
            };
            reports.Add(report);
            if (source.Files.Count == 0) continue; // all of its files are to be forgotten
            await (source.Kind switch
            {
                Rated => ReadRatings(run, source, report, tables, rated, forgotten, Advance),
                Paired => ReadPairs(run, source, report, tables, forgotten, Advance),
                _ => ReadBenchmark(run, source, report, tables, forgotten, Advance),
            });
        }

        void Advance() => run.Progress("rows", ++rows, 0);
    }

    private static async Task ReadPairs(StepRun run, Source source, SourceReport report, CanonicalTables tables, HashSet<string> forgotten,
        Action advance)
    {
        await foreach (PreferencePair pair in SourceIngestion.Items(source, PairFormats.Find(source.Format),
            p => p.Chosen.Id + p.Rejected.Id, report, run.Cancel))
        {
            if (IsForgotten(forgotten, report, pair.Chosen, pair.Rejected)) continue;
            await tables.Add(pair, source.Name);
            advance();
        }
    }

    private static async Task ReadBenchmark(StepRun run, Source source, SourceReport report, CanonicalTables tables,
        HashSet<string> forgotten, Action advance)
    {
        await foreach (BenchmarkPair pair in SourceIngestion.Items<BenchmarkPair>(source,
            row => [PairFormats.RewardBench(row)], p => $"{p.Subset}\n{p.Id}\n{p.Chosen.Id}{p.Rejected.Id}", report, run.Cancel))
        {
            if (IsForgotten(forgotten, report, pair.Chosen, pair.Rejected)) continue;
            await tables.Add(pair);
            advance();
        }
    }

    /// <exception cref="InvalidInputException">A kind of source has no file left, or an objective no rating.</exception>
    private static void RequireSomething(StepRun run, List<SourceReport> reports, HashSet<string> rated, string missing)
    {
        foreach (var kind in reports.GroupBy(r => r.Kind).Where(k => k.All(r => r.Files.Count == 0)))
        {
            throw new InvalidInputException(kind.Key, $"no file is left to read{missing}",
                "at least one file", "Add another source; or see: armoflow forget list.");
        }
        foreach (string objective in run.Spec.Model is null ? run.Objectives.Except(rated) : [])
        {
            throw new InvalidInputException($"objective '{objective}'", $"no row of any source rates it{missing}",
                "at least one rated row for each objective", "Add a source that rates it, or take it out of 'objectives'.");
        }
    }

    /// <summary>One line of what was read; what is rare is named only where it is.</summary>
    private static string Summary(IReadOnlyList<SourceReport> reports, int distinct)
    {
        List<string> counts =
            [$"{reports.Sum(r => r.Duplicates):N0} duplicate rows", $"{reports.Sum(r => r.Dropped.Values.Sum()):N0} dropped"];
        AddWhereAny(reports.Sum(r => r.Forgotten), "forgotten");
        AddWhereAny(reports.Sum(r => r.ForgottenFiles), "files forgotten");
        AddWhereAny(reports.Sum(r => r.RowsWithoutItems), "rows that give no item");
        AddWhereAny(reports.Sum(r => r.Unrated), "responses without a rating");
        AddWhereAny(reports.Sum(r => r.RowsWithReplacedText), "rows with characters read as U+FFFD");
        return $"{Kept(Rated):N0} rated responses, {Kept(Paired):N0} pairs, {Kept(Benchmarked):N0} benchmark pairs; "
            + $"{distinct:N0} distinct conversations ({string.Join(", ", counts)})";

        long Kept(string kind) => reports.Where(r => r.Kind == kind).Sum(r => r.Kept);
        void AddWhereAny(long count, string what)
        {
            if (count > 0) counts.Add($"{count:N0} {what}");
        }
    }

    private static async Task ReadRatings(StepRun run, Source source, SourceReport report, CanonicalTables tables, HashSet<string> rated,
        HashSet<string> forgotten, Action advance)
    {
        SourceSpec spec = run.Spec.Ratings.Single(r => r.Name == source.Name);
        RatedFormat format = RatedFormats.Find(source.Format, run.Objectives,
            [.. spec.Columns.Select(c => new RatedColumn(c.Objective, c.Column, new Scale(c.Min, c.Max)))], [.. spec.Ignore]);
        if (format.Objectives.Count > 0 && !format.Objectives.Any(run.Objectives.Contains))
        {
            throw new InvalidInputException($"source '{source.Name}'",
                $"format '{source.Format}' rates {string.Join(", ", format.Objectives)}", "at least one of the spec's objectives",
                "Add these to 'objectives', or remove the source.");
        }
        await foreach (RatedResponse response in SourceIngestion.Items(source, format.Read, Identity, report, run.Cancel))
        {
            if (IsForgotten(forgotten, report, response.Conversation)) continue;
            foreach ((string objective, double value) in response.Ratings)
            {
                report.Ranges[objective] =
                    report.Ranges.TryGetValue(objective, out RatingRange? range) ? range.With(value) : RatingRange.Of(value);
            }
            rated.UnionWith(response.Ratings.Keys);
            await tables.Add(response, source.Name);
            advance();
        }
    }

    /// <summary>Counts a row that is left out on request; it is no fault of the source.</summary>
    private static bool IsForgotten(HashSet<string> forgotten, SourceReport report, params ReadOnlySpan<Conversation> conversations)
    {
        foreach (Conversation conversation in conversations)
        {
            if (forgotten.Contains(conversation.Id))
            {
                report.Forgotten++;
                report.Kept--;
                return true;
            }
        }
        return false;
    }

    private static string Identity(RatedResponse response) => response.Conversation.Id
        + string.Concat(response.Ratings.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => $"\n{r.Key}={r.Value:R}"));

    /// <summary>What of the run's files was left out, and who had it forgotten; empty for nothing.</summary>
    private async Task<string> LeftOut(StepRun run)
    {
        HashSet<string> left = [.. (await Sources(run)).SelectMany(s => s.Forgotten)];
        if (left.Count == 0) return "";
        IEnumerable<Exclusion> exclusions = (await forgetting.List(run.Cancel)).Where(e =>
            e.Kind == ExclusionKind.File && left.Contains(e.Value));
        return $"; left out: {string.Join("; ", exclusions.Select(e => $"{e}{(e.Origin is { } origin ? $" with {origin}" : "")}"))}";
    }

    private async Task<IReadOnlyList<Source>> Sources(StepRun run)
    {
        List<Source> sources = [];
        foreach (SourceSpec source in run.Spec.Ratings)
        {
            sources.Add(await Open(run, source.Name, Rated, source.Format, source.Files, source.MaxDroppedShare));
        }
        foreach (SourceSpec source in run.Spec.Preferences)
        {
            sources.Add(await Open(run, source.Name, Paired, source.Format, source.Files, source.MaxDroppedShare));
        }
        if (run.Spec.Benchmark is { } benchmark)
        {
            sources.Add(await Open(run, Benchmarked, Benchmarked, benchmark.Format, benchmark.Files, benchmark.MaxDroppedShare));
        }
        return sources;
    }

    /// <summary>A source without the files whose bytes are to be forgotten, whatever they are called now.</summary>
    private async Task<Source> Open(StepRun run, string name, string kind, string format, IReadOnlyList<string> files,
        double maxDroppedShare)
    {
        HashSet<string> forgotten = [.. run.Spec.ForgottenFiles ?? []];
        List<(string Path, string ShownAs)> kept = [];
        List<string> left = [];
        foreach ((string? path, string shownAs, string? known) in await Resolve(run, files))
        {
            string? sha256 = forgotten.Count == 0 ? null : known ?? (await Hash(path!, shownAs, run.Cancel)).Sha256;
            if (sha256 is not null && forgotten.Contains(sha256)) left.Add(sha256);
            else kept.Add((path ?? await OpenMember(run, shownAs, known!), shownAs));
        }
        return new Source(name, kind, format, kept, maxDroppedShare) { Forgotten = left };
    }

    private async Task<string> OpenMember(StepRun run, string shownAs, string sha256)
    {
        try { return await Services.Artifacts.Open(sha256, run.Cancel); }
        // no step makes it anew
        catch (ArtifactLostException e)
        {
            throw new InvalidInputException(shownAs, e.Message, "the bytes that were added", "Add the file again: armoflow datasets add.");
        }
    }

    /// <summary>
    /// Files by path and pattern, and those of named data sets, which lie in the artifact store under the hash that is known of them.
    /// </summary>
    private async Task<IReadOnlyList<(string? Path, string ShownAs, string? Sha256)>> Resolve(StepRun run, IReadOnlyList<string> files)
    {
        List<(string?, string, string?)> resolved = [];
        foreach (string file in files)
        {
            if (DatasetReference.TryParse(file) is not { } reference)
            {
                foreach ((string path, string shownAs) in FilePatterns.Resolve(run.Spec.Folder, [file]))
                {
                    RequireRoot(path, shownAs);
                    resolved.Add((path, shownAs, null));
                }
                continue;
            }
            try
            {
                foreach (DatasetFile member in await datasets.Files(reference.Name, reference.Version, run.Cancel))
                    resolved.Add((null, $"{reference}/{member.Version}-{member.FileName}", member.Sha256));
            }
            catch (DatasetException e)
            {
                throw new InvalidInputException(file, e.Message, "a data set with files", "Add them with: armoflow datasets add.");
            }
        }
        return resolved;
    }

    private static void RequireRoot(string path, string shownAs)
    {
        if (DataRoots.Allow(path)) return;
        throw new InvalidInputException(shownAs, "a path outside of the folders that this worker reads from",
            $"one that {DataRoots.Variable} names", "Move the data there.");
    }

    private static async Task<ArtifactRef> Hash(string path, string shownAs, CancellationToken cancel)
    {
        await using FileStream stream = InputFile.OpenData(path, shownAs);
        return new ArtifactRef(Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancel)), stream.Length);
    }
}
