namespace ArmoFlow.RewardModel.Files;

/// <summary>Opens files that users name: regular ones only.</summary>
public static class InputFile
{
    /// <param name="path">The file.</param>
    /// <param name="expected">What it should be, for the error.</param>
    /// <param name="remedy">What to do where it is missing.</param>
    /// <param name="shownAs">How errors name it; the path if null.</param>
    /// <exception cref="InvalidInputException">It is missing, or no regular file.</exception>
    public static void Require(string path, string expected, string remedy, string? shownAs = null)
    {
        if (RegularFile.OtherKind(path) is { } kind)
            throw new InvalidInputException(shownAs ?? path, kind, $"{expected}, in a regular file", "Write the data to a file and name that.");
        if (!File.Exists(path)) throw new InvalidInputException(shownAs ?? path, "no such file", expected, remedy);
    }

    /// <summary>Opens a data file for reading.</summary>
    /// <exception cref="InvalidInputException">It is missing, or no regular file.</exception>
    public static FileStream OpenData(string path, string? shownAs = null)
    {
        Require(path, "a data file", "Check the path (a spec's are relative to the spec).", shownAs);
        return File.OpenRead(path);
    }

    /// <summary>All bytes of a small file, such as a configuration.</summary>
    /// <exception cref="InvalidInputException">It is missing, no regular file, or larger than such a file can be.</exception>
    public static byte[] ReadSmall(string path, string expected, string remedy, long largest = LargestSmallFile)
    {
        Require(path, expected, remedy);
        long length = RegularFile.Length(path);
        return length <= largest ? File.ReadAllBytes(path)
            : throw new InvalidInputException(path, $"{length:N0} bytes", $"{expected}, of at most {largest:N0} bytes", "Check that this is the right file.");
    }

    /// <summary>More than any published tokenizer.json or index has, and little memory.</summary>
    public const long LargestSmallFile = 256L << 20;
}
