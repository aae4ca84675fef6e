using ArmoFlow.RewardModel.Files;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>
/// A spec's file patterns, resolved against its folder: <c>*</c> and <c>?</c> in a name, of a file or a folder, and <c>**</c> for any
/// folders in between.
/// </summary>
public static class FilePatterns
{
    /// <summary>Files that one pattern may match.</summary>
    public const int MostFiles = 100_000;

    /// <summary>Folders that are looked into for one pattern.</summary>
    public const int MostFolders = 100_000;

    /// <summary>Characters of a pattern: what a path may have on Linux.</summary>
    public const int LongestPattern = 4096;

    private const string AnyFolders = "**";

    /// <summary>Files in ordinal order, so that the same folder gives the same order everywhere.</summary>
    /// <exception cref="InvalidInputException">A file is missing, or a pattern matches nothing.</exception>
    public static IReadOnlyList<(string Path, string ShownAs)> Resolve(string folder, IEnumerable<string> patterns)
    {
        List<(string, string)> files = [];
        foreach (string pattern in patterns)
        {
            RequirePath(pattern);
            string full = Path.GetFullPath(Path.Combine(folder, pattern));
            if (!IsWild(pattern))
            {
                InputFile.Require(full, "a data file", "Check the path (a spec's are relative to the spec).", pattern,
                    $"no such file in {folder}");
                files.Add((full, pattern));
                continue;
            }
            Search search = new(pattern, full);
            IReadOnlyList<string> found = search.Run();
            if (found.Count == 0)
            {
                throw new InvalidInputException(pattern, $"the pattern matches no file in {folder}", "at least one file",
                    "Check the pattern (a spec's are relative to the spec).");
            }
            string shownRoot = pattern[..(pattern.LastIndexOf('/', pattern.IndexOfAny(['*', '?'])) + 1)];
            foreach (string path in found)
            {
                string shownAs = shownRoot + Path.GetRelativePath(search.Root, path);
                InputFile.Require(path, "a data file", "Check the file, or narrow the pattern.", shownAs);
                files.Add((path, shownAs));
            }
        }
        return files;
    }

    private static void RequirePath(string pattern)
    {
        if (pattern.Contains('\0', StringComparison.Ordinal))
        {
            throw new InvalidInputException("files", $"the path '{pattern.Replace('\0', '\ufffd')}' with a NUL character in it",
                "a path", "Correct the path.");
        }
        if (pattern.Length > LongestPattern)
        {
            throw new InvalidInputException("files", $"the path '{pattern}'", $"a path of at most {LongestPattern:N0} characters",
                "Correct the path.");
        }
    }

    private static bool IsWild(string text) => text.AsSpan().ContainsAny('*', '?');

    /// <summary>One pattern's search, which is bounded: a pattern may come from somebody else.</summary>
    private sealed class Search
    {
        private readonly string _pattern;
        private readonly string[] _segments;
        private readonly SortedSet<string> _found = new(StringComparer.Ordinal);
        private readonly HashSet<(string Folder, int At)> _seen = [];

        public Search(string pattern, string full)
        {
            _pattern = pattern;
            string[] all = full.Split(Path.DirectorySeparatorChar);
            int wild = Array.FindIndex(all, IsWild);
            Root = string.Join(Path.DirectorySeparatorChar, all[..wild]) + Path.DirectorySeparatorChar;
            _segments = [.. all[wild..]];
        }

        /// <summary>The folder before the first wildcard.</summary>
        public string Root { get; }

        public IReadOnlyList<string> Run()
        {
            if (Directory.Exists(Root)) Look(Root, 0);
            return [.. _found];
        }

        private void Look(string folder, int at)
        {
            if (!_seen.Add((folder, at))) return; // several ** lead to one folder in many ways
            if (_seen.Count > MostFolders)
            {
                throw new InvalidInputException(_pattern, $"more than {MostFolders:N0} folders to look into", "a pattern for some files",
                    "Narrow the pattern.");
            }
            string segment = _segments[at];
            bool isLast = at == _segments.Length - 1;
            if (segment == AnyFolders)
            {
                if (isLast) AddFiles(folder, "*");
                else Look(folder, at + 1);
                // A link among them may lead back to where it stands.
                foreach (string inner in Entries(folder, () => Directory.EnumerateDirectories(folder)))
                    if (new DirectoryInfo(inner).LinkTarget is null) Look(inner, at);
            }
            else if (isLast) AddFiles(folder, segment);
            else if (IsWild(segment))
                foreach (string inner in Entries(folder, () => Directory.EnumerateDirectories(folder, segment))) Look(inner, at + 1);
            else if (Directory.Exists(Path.Combine(folder, segment))) Look(Path.Combine(folder, segment), at + 1);
        }

        private void AddFiles(string folder, string name)
        {
            foreach (string file in Entries(folder, () => Directory.EnumerateFiles(folder, name)))
            {
                _found.Add(file);
                if (_found.Count > MostFiles)
                {
                    throw new InvalidInputException(_pattern, $"more than {MostFiles:N0} files", "a pattern for some files",
                        "Narrow the pattern, or put the rows into fewer files.");
                }
            }
        }

        private IEnumerable<string> Entries(string folder, Func<IEnumerable<string>> list)
        {
            try { return [.. list().Take(MostFiles + 1)]; }
            catch (UnauthorizedAccessException)
            {
                throw new InvalidInputException(_pattern, $"the folder {folder}, which may not be read", "folders that ArmoFlow may read",
                    $"Give the user '{Environment.UserName}' the right to read it, or narrow the pattern.");
            }
        }
    }
}
