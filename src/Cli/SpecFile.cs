using ArmoFlow.Contracts.Specs;

namespace ArmoFlow.Cli;

/// <summary>A spec on this machine's disk, read and found sound; its text is what is sent or kept.</summary>
/// <param name="Spec">What it reads as.</param>
/// <param name="Text">What it says.</param>
internal sealed record SpecFile(RunSpec Spec, string Text)
{
    private const string InFolder = "spec.yaml";

    /// <summary>What the spec's paths are relative to.</summary>
    public string Folder => Spec.Folder;

    /// <param name="path">The file, or its folder.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="SpecException">It is not a spec; says where.</exception>
    public static async Task<SpecFile> Read(string path, CancellationToken cancel)
    {
        RunSpec spec = SpecReader.Load(path);
        string file = Directory.Exists(path) ? Path.Combine(path, InFolder) : path;
        return new SpecFile(spec, await File.ReadAllTextAsync(file, cancel));
    }
}
