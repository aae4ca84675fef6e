namespace ArmoFlow.Persistence;

/// <summary>
/// Where this user's processes keep what is theirs alone: $XDG_CACHE_HOME/armoflow, or ~/.cache/armoflow. The system's temporary
/// folder is shared: whoever comes first to a name there that can be guessed decides what others find under it.
/// </summary>
public static class PrivateFolder
{
    private const UnixFileMode Own = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
        OwnFile = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const string CacheVariable = "XDG_CACHE_HOME", Name = "armoflow";

    /// <summary>A folder of that name; not made, and not looked at.</summary>
    public static string PathOf(string name) => Path.Combine(Root(), name);

    /// <summary>Makes a folder that nobody else can enter.</summary>
    /// <exception cref="SettingException">It is somebody else's, or a link to elsewhere.</exception>
    public static string Require(string path)
    {
        string full = Path.GetFullPath(path);
        DirectoryInfo folder = OperatingSystem.IsWindows() ? Directory.CreateDirectory(full) : Directory.CreateDirectory(full, Own);
        if (OperatingSystem.IsWindows()) return full;
        if (folder.LinkTarget is { } target)
        {
            throw new SettingException(
                $"{full}: it is a link to {target}; expected a folder of this user's own. Remove it, or set {CacheVariable}.");
        }
        try { File.SetUnixFileMode(full, Own); } // of an owner alone
        catch (UnauthorizedAccessException)
        {
            throw new SettingException(
                $"{full}: it is another user's; expected a folder of this user's own. Remove it, or set {CacheVariable}.");
        }
        return full;
    }

    /// <summary>A new file of a name that nobody can guess, which nobody else can read.</summary>
    /// <param name="folder">As <see cref="PathOf"/> names it.</param>
    /// <param name="extension">Such as ".log".</param>
    public static FileStream CreateFile(string folder, string extension)
    {
        string path = Path.Combine(Require(PathOf(folder)), $"{Path.GetRandomFileName()}{extension}");
        FileStreamOptions options = new() { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows()) options.UnixCreateMode = OwnFile;
        return new FileStream(path, options);
    }

    private static string Root()
    {
        if (Environment.GetEnvironmentVariable(CacheVariable) is { Length: > 0 } cache
            && Path.IsPathRooted(cache)) return Path.Combine(cache, Name);
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        return home.Length > 0 ? Path.Combine(home, ".cache", Name) : Unguessable.Value;
    }

    /// <summary>For a user without a home: new for each process.</summary>
    private static readonly Lazy<string> Unguessable = new(() => Directory.CreateTempSubdirectory($"{Name}-").FullName);
}
