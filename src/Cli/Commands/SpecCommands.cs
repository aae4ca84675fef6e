using System.CommandLine;
using ArmoFlow.Contracts.Specs;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Ingestion;

namespace ArmoFlow.Cli.Commands;

internal static class SpecCommands
{
    public static Command Spec() => new("spec", "Checks specs.") { Validate() };

    private static Command Validate()
    {
        Argument<string> path = new("spec") { Description = "The spec (YAML), or its folder." };
        Option<bool> json = Options.Json();
        Command command = new("validate",
            "Checks a spec's keys and values, that its files and its backbone are there and fit together, and its formats are known.")
        {
            path,
            json
        };
        command.SetAction(parsed =>
        {
            RunSpec spec = SpecReader.Load(parsed.GetRequiredValue(path));
            List<string> mistakes = [];
            int files = 0;
            foreach (SourceSpec source in spec.Ratings)
            {
                Try(mistakes, $"ratings '{source.Name}'", () => RatedFormats.Find(source.Format, spec.Objectives, [], []));
                Try(mistakes, $"ratings '{source.Name}'", () => files += Files(spec, source.Files));
            }
            foreach (SourceSpec source in spec.Preferences)
            {
                Try(mistakes, $"preferences '{source.Name}'", () => PairFormats.Find(source.Format));
                Try(mistakes, $"preferences '{source.Name}'", () => files += Files(spec, source.Files));
            }
            if (spec.Benchmark is { } benchmark) Try(mistakes, "benchmark", () => files += Files(spec, benchmark.Files));
            if (spec.Backbone != BackboneSpec.OfModel)
            {
                Try(mistakes, "backbone",
                    () =>
                        BackboneParts.Open(Path.GetFullPath(Path.Combine(spec.Folder, spec.Backbone.Path)), spec.Backbone.AllowsSpecials));
            }
            if (mistakes.Count > 0) throw new UsageException(string.Join(Environment.NewLine, mistakes));
            if (parsed.GetValue(json)) Terminal.PrintJson(spec);
            else Console.Out.WriteLine(Summary(spec, files));
            return ExitCodes.Done;
        });
        return command;
    }

    private static string Summary(RunSpec spec, int files)
    {
        int objectives = spec.Objectives.Count > 0 ? spec.Objectives.Count : RatedFormats.PaperObjectives.Count;
        return $"{spec.Name}: {spec.Ratings.Count} rated and {spec.Preferences.Count} preference sources, {files} files, {objectives} "
            + "objectives: the spec is sound.";
    }

    /// <summary>Notes a mistake and goes on to the next part.</summary>
    private static void Try(List<string> mistakes, string part, Action check)
    {
        try { check(); }
        catch (Exception e) when (Terminal.AsUserError(e) is { } message) { mistakes.Add($"{part}: {message}"); }
    }

    /// <summary>Data sets are in the books of whoever runs the spec, and are looked up there.</summary>
    private static int Files(RunSpec spec, IReadOnlyList<string> files) =>
        FilePatterns.Resolve(spec.Folder, files.Where(f => DatasetReference.TryParse(f) is null)).Count;
}
