namespace ArmoFlow.Contracts.Specs;

/// <summary>A named data set among a spec's files: dataset:NAME, or dataset:NAME@VERSION once a run has settled on one.</summary>
public sealed record DatasetReference(string Name, int? Version)
{
    private const string Prefix = "dataset:";

    /// <summary>As a spec writes it.</summary>
    public override string ToString() => Version is { } version ? $"{Prefix}{Name}@{version}" : Prefix + Name;

    /// <summary>True for a name that a data set can have.</summary>
    public static bool IsName(string? text) =>
        text?.Length is > 0 and <= 64 && text.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.') && !text.StartsWith('.');

    /// <summary>Null for what is a path or pattern.</summary>
    public static DatasetReference? TryParse(string file)
    {
        if (!file.StartsWith(Prefix, StringComparison.Ordinal)) return null;
        string[] parts = file[Prefix.Length..].Split('@', 2);
        return new DatasetReference(parts[0], parts.Length == 2 && int.TryParse(parts[1], out int version) ? version : null);
    }

    /// <summary>Everything that a spec reads.</summary>
    public static IEnumerable<string> FilesOf(RunSpec spec) =>
        spec.Ratings.Concat(spec.Preferences).SelectMany(s => s.Files).Concat(spec.Benchmark?.Files ?? []);

    /// <summary>A spec with its files replaced.</summary>
    public static RunSpec Replace(RunSpec spec, Func<string, string> with) => spec with
    {
        Ratings = [.. spec.Ratings.Select(s => s with { Files = [.. s.Files.Select(with)] })],
        Preferences = [.. spec.Preferences.Select(s => s with { Files = [.. s.Files.Select(with)] })],
        Benchmark = spec.Benchmark is { } benchmark ? benchmark with { Files = [.. benchmark.Files.Select(with)] } : null,
    };
}
