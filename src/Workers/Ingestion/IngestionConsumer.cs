using System.Security.Cryptography;
using ArmoFlow.Contracts;
using ArmoFlow.Contracts.Ingestion;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Datasets;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using MassTransit;

namespace ArmoFlow.Workers.Ingestion;

public sealed class IngestionConsumerDefinition() : StepConsumerDefinition<IngestionConsumer>(StepNames.Ingestion);

public sealed record IngestionReport(IReadOnlyList<string> Objectives, IReadOnlyList<SourceReport> Sources, int DistinctConversations);

/// <summary>Reads every source of the spec into one canonical data set.</summary>
public sealed class IngestionConsumer(StepServices services, DatasetBooks datasets) : StepConsumer<IngestData, DataIngested>(StepNames.Ingestion, version: 1, services)
{
    private const string Rated = "ratings", Paired = "preferences", Benchmarked = "benchmark";

    protected override async Task<StepPlan> Plan(StepRun run)
    {
        Dictionary<string, ArtifactRef> files = [];
        foreach (Source source in await Sources(run))
            foreach ((string path, string shownAs) in source.Files)
                files[$"{source.Kind}/{source.Name}/{shownAs}"] = await Hash(path, run.Cancel);
        return new StepPlan(run.Spec.Forgotten is { } forgotten ? (object)new { run.Objectives, run.Spec.Ratings, run.Spec.Preferences, run.Spec.Benchmark, forgotten }
            : new { run.Objectives, run.Spec.Ratings, run.Spec.Preferences, run.Spec.Benchmark }, files);
    }

    protected override async Task<StepOutcome?> Work(StepRun run, ConsumeContext context)
    {
        using OwnFolder folder = run.MakeOwnFolder(); // half-written tables are of no use to the next attempt
        return await Ingest(run, folder.Path);
    }

    private async Task<StepOutcome> Ingest(StepRun run, string folder)
    {
        List<SourceReport> reports = [];
        HashSet<string> rated = [], forgotten = [.. run.Spec.Forgotten ?? []];
        int distinct;
        IReadOnlyDictionary<string, long> written;
        await using (CanonicalTables tables = new(folder, run.Objectives))
        {
            long rows = 0;
            foreach (Source source in await Sources(run))
            {
                SourceReport report = new() { Name = source.Name, Kind = source.Kind, Format = source.Format, Files = [.. source.Files.Select(f => f.ShownAs)] };
                reports.Add(report);
                if (source.Kind == Rated) await ReadRatings(run, source, report, tables, rated, forgotten, () => run.Progress("rows", ++rows, 0));
                else if (source.Kind == Paired)
                    await foreach (PreferencePair pair in SourceIngestion.Items(source, PairFormats.Find(source.Format), p => p.Chosen.Id + p.Rejected.Id, report, run.Cancel))
                    {
                        if (IsForgotten(forgotten, report, pair.Chosen, pair.Rejected)) continue;
                        await tables.Add(pair, source.Name);
                        run.Progress("rows", ++rows, 0);
                    }
                else
                    await foreach (BenchmarkPair pair in SourceIngestion.Items<BenchmarkPair>(source, row => [PairFormats.RewardBench(row)], p => $"{p.Subset}\n{p.Id}\n{p.Chosen.Id}{p.Rejected.Id}", report, run.Cancel))
                    {
                        if (IsForgotten(forgotten, report, pair.Chosen, pair.Rejected)) continue;
                        await tables.Add(pair);
                        run.Progress("rows", ++rows, 0);
                    }
            }
            distinct = tables.DistinctConversations;
            written = tables.Rows;
        }
        await CanonicalTables.RequireRows(folder, written);
        foreach (string objective in run.Spec.Model is null ? run.Objectives : [])
            if (!rated.Contains(objective))
                throw new InvalidInputException($"objective '{objective}'", "no row of any source rates it", "at least one rated row for each objective", "Add a source that rates it, or take it out of 'objectives'.");

        Dictionary<string, ArtifactRef> outputs = new()
        {
            [ArtifactNames.Conversations] = await Take(CanonicalTables.Conversations),
            [ArtifactNames.Ratings] = await Take(CanonicalTables.Ratings),
            [ArtifactNames.Preferences] = await Take(CanonicalTables.Preferences),
            [ArtifactNames.Benchmark] = await Take(CanonicalTables.Benchmark),
            [ArtifactNames.IngestionReport] = await run.PutJson(new IngestionReport(run.Objectives, reports, distinct)),
        };
        long Kept(string kind) => reports.Where(r => r.Kind == kind).Sum(r => r.Kept);
        long dropped = reports.Sum(r => r.Dropped.Values.Sum()), duplicates = reports.Sum(r => r.Duplicates);
        return new StepOutcome(outputs,
            $"{Kept(Rated):N0} rated responses, {Kept(Paired):N0} pairs, {Kept(Benchmarked):N0} benchmark pairs; {distinct:N0} distinct conversations ({duplicates:N0} duplicate rows, {dropped:N0} dropped{(reports.Sum(r => r.Forgotten) is > 0 and var left ? $", {left:N0} forgotten" : "")})",
            new { sources = reports, distinctConversations = distinct });

        Task<ArtifactRef> Take(string name) => run.Put(path => File.Move(Path.Combine(folder, name), path));
    }

    private static async Task ReadRatings(StepRun run, Source source, SourceReport report, CanonicalTables tables, HashSet<string> rated, HashSet<string> forgotten, Action advance)
    {
        SourceSpec spec = run.Spec.Ratings.Single(r => r.Name == source.Name);
        RatedFormat format = RatedFormats.Find(source.Format, run.Objectives, [.. spec.Columns.Select(c => new RatedColumn(c.Objective, c.Column, new Scale(c.Min, c.Max)))], [.. spec.Ignore]);
        if (format.Objectives.Count > 0 && !format.Objectives.Any(run.Objectives.Contains))
            throw new InvalidInputException($"source '{source.Name}'", $"format '{source.Format}' rates {string.Join(", ", format.Objectives)}", "at least one of the spec's objectives", "Add these to 'objectives', or remove the source.");
        await foreach (RatedResponse response in SourceIngestion.Items(source, format.Read, Identity, report, run.Cancel))
        {
            if (IsForgotten(forgotten, report, response.Conversation)) continue;
            foreach ((string objective, double value) in response.Ratings)
                report.Ranges[objective] = report.Ranges.TryGetValue(objective, out RatingRange? range) ? range.With(value) : RatingRange.Of(value);
            rated.UnionWith(response.Ratings.Keys);
            await tables.Add(response, source.Name);
            advance();
        }
    }

    /// <summary>Counts a row that is left out on request; it is no fault of the source.</summary>
    private static bool IsForgotten(HashSet<string> forgotten, SourceReport report, params ReadOnlySpan<Conversation> conversations)
    {
        foreach (Conversation conversation in conversations)
            if (forgotten.Contains(conversation.Id))
            {
                report.Forgotten++;
                report.Kept--;
                return true;
            }
        return false;
    }

    private static string Identity(RatedResponse response) => response.Conversation.Id
        + string.Concat(response.Ratings.OrderBy(r => r.Key, StringComparer.Ordinal).Select(r => $"\n{r.Key}={r.Value:R}"));

    private async Task<IReadOnlyList<Source>> Sources(StepRun run)
    {
        List<Source> sources = [];
        foreach (SourceSpec source in run.Spec.Ratings) sources.Add(new Source(source.Name, Rated, source.Format, await Resolve(run, source.Files), source.MaxDroppedShare));
        foreach (SourceSpec source in run.Spec.Preferences) sources.Add(new Source(source.Name, Paired, source.Format, await Resolve(run, source.Files), source.MaxDroppedShare));
        if (run.Spec.Benchmark is { } benchmark) sources.Add(new Source(Benchmarked, Benchmarked, benchmark.Format, await Resolve(run, benchmark.Files), benchmark.MaxDroppedShare));
        return sources;
    }

    /// <summary>Files by path and pattern, and those of named data sets, which lie in the artifact store.</summary>
    private async Task<IReadOnlyList<(string Path, string ShownAs)>> Resolve(StepRun run, IReadOnlyList<string> files)
    {
        List<(string, string)> resolved = [];
        foreach (string file in files)
        {
            if (DatasetReference.TryParse(file) is not { } reference)
            {
                foreach ((string path, string shownAs) in FilePatterns.Resolve(run.Spec.Folder, [file]))
                {
                    RequireRoot(path, shownAs);
                    resolved.Add((path, shownAs));
                }
                continue;
            }
            try
            {
                foreach (DatasetFile member in await datasets.Files(reference.Name, reference.Version, run.Cancel))
                    resolved.Add((await Services.Artifacts.Open(member.Sha256, run.Cancel), $"{reference}/{member.Version}-{member.FileName}"));
            }
            catch (DatasetException e) { throw new InvalidInputException(file, e.Message, "a data set with files", "Add them with: armoflow datasets add."); }
            catch (ArtifactLostException e) { throw new InvalidInputException(file, e.Message, "the bytes that were added", "Add the file again: armoflow datasets add."); } // no step makes it anew
        }
        return resolved;
    }

    private static void RequireRoot(string path, string shownAs)
    {
        if (DataRoots.Allow(path)) return;
        throw new InvalidInputException(shownAs, "a path outside of the folders that this worker reads from",
            $"one that {DataRoots.Variable} names", "Move the data there.");
    }

    private static async Task<ArtifactRef> Hash(string path, CancellationToken cancel)
    {
        await using FileStream stream = File.OpenRead(path);
        return new ArtifactRef(Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancel)), stream.Length);
    }
}
