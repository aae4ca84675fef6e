namespace ArmoFlow.RewardModel.Files;

/// <summary>Opens files that users name: regular ones only.</summary>
public static class InputFile
{
    private const string CheckPath = "Check the path (a spec's are relative to the spec).";

    /// <param name="path">The file.</param>
    /// <param name="expected">What it should be, for the error.</param>
    /// <param name="remedy">What to do where it is missing.</param>
    /// <param name="shownAs">How errors name it; the path if null.</param>
    /// <param name="missing">What to say of a missing one.</param>
    /// <exception cref="InvalidInputException">It is missing, or no regular file.</exception>
    public static void Require(string path, string expected, string remedy, string? shownAs = null, string missing = "no such file")
    {
        if (RegularFile.OtherKind(path) is { } kind)
        {
            throw new InvalidInputException(shownAs ?? path, kind, $"{expected}, in a regular file",
                "Write the data to a file and name that.");
        }
        if (LostLink(path) is { } target)
        {
            throw new InvalidInputException(shownAs ?? path, $"a link to '{target}', where no file is", expected,
                "Mend the link, or name the file itself.");
        }
        if (File.Exists(path)) return;
        // .NET reads names as UTF-8; a name in Latin-1 comes with a replacement character, under which no file can be opened.
        if (path.Contains('\ufffd', StringComparison.Ordinal))
            throw new InvalidInputException(shownAs ?? path, "a name that is not UTF-8", "a file with a name in UTF-8", "Rename the file.");
        throw new InvalidInputException(shownAs ?? path, missing, expected, remedy);
    }

    /// <summary>What a link leads to, where that is nowhere: for .NET such a link is a file that exists.</summary>
    private static string? LostLink(string path)
    {
        if (path.Contains('\0', StringComparison.Ordinal) || new FileInfo(path).LinkTarget is not { } target) return null;
        try { return File.ResolveLinkTarget(path, returnFinalTarget: true) is { Exists: true } ? null : target; }
        catch (IOException) { return target; } // links in a circle
    }

    /// <summary>Opens a data file for reading.</summary>
    /// <exception cref="InvalidInputException">It is missing, no regular file, or may not be read.</exception>
    public static FileStream OpenData(string path, string? shownAs = null)
    {
        Require(path, "a data file", CheckPath, shownAs);
        return Open(path, "a data file", CheckPath, shownAs ?? path);
    }

    /// <summary>All bytes of a small file, such as a configuration.</summary>
    /// <exception cref="InvalidInputException">It is missing, no regular file, may not be read, or is larger than such a file can
    /// be.</exception>
    public static byte[] ReadSmall(string path, string expected, string remedy, long largest = LargestSmallFile)
    {
        Require(path, expected, remedy);
        using FileStream file = Open(path, expected, remedy, path);
        long length = file.Length;
        if (length > largest)
        {
            throw new InvalidInputException(path, $"{length:N0} bytes", $"{expected}, of at most {largest:N0} bytes",
                "Check that this is the right file.");
        }
        byte[] bytes = new byte[length];
        file.ReadExactly(bytes);
        return bytes;
    }

    /// <summary>Trying again does not help where the system refuses: whoever may change that is told so.</summary>
    private static FileStream Open(string path, string expected, string remedy, string shownAs)
    {
        try { return File.OpenRead(path); }
        catch (UnauthorizedAccessException)
        {
            throw new InvalidInputException(shownAs, "a file that may not be read", $"{expected} that ArmoFlow may read",
                $"Give the user '{Environment.UserName}' the right to read it.");
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or ArgumentException or PathTooLongException)
        {
            throw new InvalidInputException(shownAs, "no such file", expected, remedy);
        }
    }

    /// <summary>More than any published tokenizer.json or index has, and little memory.</summary>
    public const long LargestSmallFile = 256L << 20;
}
