using System.CommandLine;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.RewardModel.Ingestion;

namespace ArmoFlow.Cli.Commands;

internal static class SpecCommands
{
    public static Command Spec() => new("spec", "Checks specs.") { Validate() };

    private static Command Validate()
    {
        Argument<string> path = new("spec") { Description = "The spec (YAML), or its folder." };
        Option<bool> json = Options.Json();
        Command command = new("validate", "Checks a spec's keys and values, that its files are there, and its formats are known.") { path, json };
        command.SetAction(parsed =>
        {
            RunSpec spec = SpecReader.Load(parsed.GetRequiredValue(path));
            int files = 0;
            foreach (SourceSpec source in spec.Ratings)
            {
                RatedFormats.Find(source.Format, spec.Objectives, [], []);
                files += Files(spec, source.Files);
            }
            foreach (SourceSpec source in spec.Preferences)
            {
                PairFormats.Find(source.Format);
                files += Files(spec, source.Files);
            }
            if (spec.Benchmark is { } benchmark) files += Files(spec, benchmark.Files);
            if (parsed.GetValue(json)) Terminal.PrintJson(spec);
            else Console.Out.WriteLine($"{spec.Name}: {spec.Ratings.Count} rated and {spec.Preferences.Count} preference sources, {files} files, {(spec.Objectives.Count > 0 ? spec.Objectives.Count : RatedFormats.PaperObjectives.Count)} objectives: the spec is sound.");
            return ExitCodes.Done;
        });
        return command;
    }

    /// <summary>Data sets are in the books of whoever runs the spec, and are looked up there.</summary>
    private static int Files(RunSpec spec, IReadOnlyList<string> files) => FilePatterns.Resolve(spec.Folder, files.Where(f => DatasetReference.TryParse(f) is null)).Count;
}
