namespace ArmoFlow.Contracts.Specs;

/// <summary>
/// The folders that specs may read from, where whoever runs the server names some (ARMOFLOW_DATA_ROOTS, separated by ':'); without them
/// specs may read what the server's user may. Links are followed before the place is judged, and errors do not say what lies outside.
/// </summary>
public static class DataRoots
{
    /// <summary>Folders that data may be read from, separated by colons; all where it is not set.</summary>
    public const string Variable = "ARMOFLOW_DATA_ROOTS";
    private const int MostLinks = 40; // as the system's own limit

    /// <summary>False where specs may read everything.</summary>
    public static bool AreSet => Given.Length > 0;

    private static string[] Given => (Environment.GetEnvironmentVariable(Variable) ?? "")
        .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>True for a path that may be read.</summary>
    public static bool Allow(string path) => !AreSet || Given.Any(root => IsInside(path, root));

    /// <summary>Refuses a spec that names files outside of the roots, before it is entered; workers look again when they read.</summary>
    /// <exception cref="SpecException">A file or the backbone lies outside.</exception>
    public static RunSpec Require(RunSpec spec)
    {
        if (!AreSet) return spec;
        IEnumerable<string> files = DatasetReference.FilesOf(spec).Where(f => DatasetReference.TryParse(f) is null);
        foreach (string named in spec.Backbone == BackboneSpec.OfModel ? files : files.Append(spec.Backbone.Path))
        {
            string path = Path.GetFullPath(Path.Combine(spec.Folder, named));
            bool isPattern = named.AsSpan().ContainsAny('*', '?');
            if (!Allow(isPattern ? Path.GetDirectoryName(path)! : path)) throw Outside(named);
        }
        return spec;
    }

    /// <summary>The error for a path that may not be read; it does not say whether there is such a file.</summary>
    public static SpecException Outside(string named) =>
        new($"'{StoredText.Excerpt(named)}'", "a path outside of the folders that this server reads from",
            $"one under {string.Join(" or ", Given)}", $"Move the data there, or have the server's {Variable} name its folder.");

    /// <summary>True for a path that lies in a folder, once all links on both ways are followed.</summary>
    public static bool IsInside(string path, string folder)
    {
        if (RealPath(path) is not { } real || RealPath(folder) is not { } root) return false;
        return real == root || real.StartsWith(root.TrimEnd('/') + "/", StringComparison.Ordinal);
    }

    /// <summary>The path without links; null where links go in a circle.</summary>
    private static string? RealPath(string path)
    {
        string real = "/";
        Stack<string> rest = new(Path.GetFullPath(path).Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse());
        int links = 0;
        while (rest.TryPop(out string? part))
        {
            string next = Path.GetFullPath(Path.Combine(real, part));
            if (new FileInfo(next).LinkTarget is not { } target)
            {
                real = next;
                continue;
            }
            if (++links > MostLinks) return null;
            string aim = Path.GetFullPath(Path.Combine(real, target));
            real = "/";
            foreach (string step in aim.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse()) rest.Push(step);
        }
        return real;
    }
}
