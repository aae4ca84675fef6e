using System.CommandLine;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.Workers.Features;

namespace ArmoFlow.Cli.Commands;

internal static class SpecCommands
{
    public static Command Spec() => new("spec", "Checks specs.") { Validate() };

    private static Command Validate()
    {
        Argument<string> path = new("spec") { Description = "The spec (YAML), or its folder." };
        Command command = new("validate",
            "Checks a spec's keys and values, its backbone, and each of its files by the file's first row.")
        {
            path,
            ClientOptions.Json
        };
        command.SetAction(async (parsed, cancel) =>
        {
            RunSpec spec = SpecReader.Load(parsed.GetRequiredValue(path));
            (List<string> mistakes, int files) = await Check(spec, cancel);
            if (mistakes.Count > 0) throw new UsageException(string.Join(Environment.NewLine, mistakes));
            if (parsed.WantsJson()) Terminal.PrintJson(spec);
            else Console.Out.WriteLine(Summary(spec, files));
            return ExitCodes.Done;
        });
        return command;
    }

    /// <summary>Every mistake, and how many files were read.</summary>
    private static async Task<(List<string> Mistakes, int Files)> Check(RunSpec spec, CancellationToken cancel)
    {
        List<string> mistakes = [];
        int files = 0;
        foreach (SourceSpec source in spec.Ratings)
            await Try($"ratings '{source.Name}'", source.Files, () => Rated(spec, source));
        foreach (SourceSpec source in spec.Preferences)
            await Try($"preferences '{source.Name}'", source.Files, () => PairFormats.Find(source.Format));
        if (spec.Benchmark is { } benchmark) await Try("benchmark", benchmark.Files, () => row => [PairFormats.RewardBench(row)]);
        if (spec.Backbone != BackboneSpec.OfModel)
        {
            await Try("backbone", [], () =>
            {
                BackboneParts.Open(Path.GetFullPath(Path.Combine(spec.Folder, spec.Backbone.Path)), spec.Backbone.Encoding());
                return _ => [];
            });
        }
        return (mistakes, files);

        // Notes a mistake and goes on to the next part.
        async Task Try(string part, IReadOnlyList<string> patterns, Func<Func<SourceRow, IEnumerable<object>>> format)
        {
            try
            {
                Func<SourceRow, IEnumerable<object>> read = format();
                // Data sets are in the database of whoever runs the spec, and are looked up there.
                IEnumerable<string> own = patterns.Where(f => DatasetReference.TryParse(f) is null);
                foreach ((string file, string shownAs) in FilePatterns.Resolve(spec.Folder, own))
                {
                    files++;
                    await ReadFirst(file, shownAs, read, cancel);
                }
            }
            catch (Exception e) when (Terminal.AsUserError(e) is { } message) { mistakes.Add($"{part}: {message}"); }
        }
    }

    /// <summary>
    /// Enough to see another format, another file, or a misspelt objective; a row that a source may leave out is none of these.
    /// </summary>
    private static async Task ReadFirst(string path, string shownAs, Func<SourceRow, IEnumerable<object>> read, CancellationToken cancel)
    {
        await foreach (SourceRow row in RowReader.Read(path, shownAs, cancel))
        {
            try { _ = read(row).Count(); }
            catch (InvalidInputException e) when (e.StrayRow is not null) { }
            return;
        }
    }

    private static Func<SourceRow, IEnumerable<RatedResponse>> Rated(RunSpec spec, SourceSpec source)
    {
        IReadOnlyList<string> objectives = spec.Objectives.Count > 0 ? spec.Objectives : RatedFormats.PaperObjectives;
        RatedColumn[] columns = [.. source.Columns.Select(c => new RatedColumn(c.Objective, c.Column, new Scale(c.Min, c.Max)))];
        return RatedFormats.Find(source.Format, objectives, columns, source.Ignore).Read;
    }

    private static string Summary(RunSpec spec, int files)
    {
        int objectives = spec.Objectives.Count > 0 ? spec.Objectives.Count : RatedFormats.PaperObjectives.Count;
        return $"{spec.Name}: {spec.Ratings.Count} rated and {spec.Preferences.Count} preference sources, {files} files, {objectives} "
            + "objectives: the spec is sound.";
    }
}
