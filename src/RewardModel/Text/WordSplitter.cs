using System.Text.Json;
using System.Text.RegularExpressions;

namespace ArmoFlow.RewardModel.Text;

/// <summary>How a text is split into words, which no merge crosses, and a word into its smallest symbols.</summary>
internal sealed class WordSplitter
{
    private const string PatternProbe = "It's a  probe, of 3 kinds:\n\tletters, 42 and çé! ";

    // GPT-2's, which ByteLevel stands for where a file names no other.
    private const string Gpt2Pattern = @"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
    private static readonly TimeSpan LongestMatch = TimeSpan.FromSeconds(5);

    private readonly bool _splitsAtSpaces;

    private WordSplitter(Regex? pattern, bool splitsAtSpaces)
    {
        Pattern = pattern;
        _splitsAtSpaces = splitsAtSpaces;
    }

    /// <summary>What words match; null where a text is one word.</summary>
    public Regex? Pattern { get; }

    /// <summary>True where symbols are bytes, spelled in GPT-2's alphabet; else they are characters, and bytes where there is no
    /// token for one.</summary>
    public bool IsByteLevel => Pattern is not null;

    /// <summary>Reads the member 'pre_tokenizer'.</summary>
    /// <param name="root">The file.</param>
    /// <param name="normalizer">What is done to a text before it.</param>
    /// <param name="vocabulary">Says whether a token reaches over a space.</param>
    /// <param name="path">The file, for errors.</param>
    /// <exception cref="InvalidInputException">It splits in another way.</exception>
    public static WordSplitter Read(JsonElement root, TextNormalizer normalizer, BpeVocabulary vocabulary, string path)
    {
        JsonElement[] steps = TokenizerFile.Member(root, "pre_tokenizer") is { } splitter
            ? [.. TokenizerFile.Steps(splitter, "pretokenizers")]
            : [];
        bool isBytes = steps.Length > 0 && TokenizerFile.TypeOf(steps[^1]) == "ByteLevel";
        if (isBytes) return new WordSplitter(Compile(PatternOf(steps, path), path), false);
        JsonElement? other = steps.Cast<JsonElement?>().FirstOrDefault(step => !SplitsNothing(step!.Value, normalizer));
        if (other is { } found)
        {
            throw TokenizerFile.Unsupported(path, $"a pre-tokenizer '{TokenizerFile.TypeOf(found)}' of another form",
                "a regular-expression split followed by ByteLevel, or SentencePiece's whole text");
        }
        return new WordSplitter(null, !vocabulary.Ids.Keys.Any(ReachesOverSpace));
    }

    /// <summary>A split at spaces where there are none any more, or the signs for spaces, which the normalizer has read.</summary>
    private static bool SplitsNothing(JsonElement step, TextNormalizer normalizer) => TokenizerFile.TypeOf(step) switch
    {
        "Metaspace" => normalizer.IsMetaspace,
        "Split" => normalizer.ReplacesSpaces && TokenizerFile.IsText(step.GetProperty("pattern"), " "),
        _ => false,
    };

    /// <summary>Something that is no sign for a space before one that is: such a token reaches over the beginning of a word.</summary>
    private static bool ReachesOverSpace(string token)
    {
        for (int i = 1; i < token.Length; i++)
        {
            if (token[i] == TextNormalizer.Space && token[i - 1] != TextNormalizer.Space) return true;
        }
        return false;
    }

    private static string PatternOf(JsonElement[] steps, string path)
    {
        JsonElement bytes = steps[^1];
        if (TokenizerFile.IsTrue(bytes, "add_prefix_space"))
            throw TokenizerFile.Unsupported(path, "a ByteLevel with add_prefix_space", "one without");
        bool usesOwn = !bytes.TryGetProperty("use_regex", out JsonElement own) || own.ValueKind == JsonValueKind.True;
        if (steps.Length == 1 && usesOwn) return Gpt2Pattern;
        bool isSplit = steps.Length == 2 && !usesOwn && TokenizerFile.TypeOf(steps[0]) == "Split"
            && steps[0].GetProperty("behavior").GetString() == "Isolated" && !TokenizerFile.IsTrue(steps[0], "invert");
        if (isSplit && steps[0].GetProperty("pattern").TryGetProperty("Regex", out JsonElement regex)) return regex.GetString()!;
        throw TokenizerFile.Unsupported(path, $"{steps.Length} pre-tokenizers of another form",
            "a regular-expression split followed by ByteLevel");
    }

    /// <summary>The file's own pattern; one that backtracks without end is given up.</summary>
    private static Regex Compile(string pattern, string path)
    {
        try
        {
            Regex compiled = new(pattern, RegexOptions.Compiled | RegexOptions.CultureInvariant, LongestMatch);
            // Whoever splits by a pattern that matches nothing at all stays where it is.
            if (compiled.Matches(PatternProbe).Any(m => m.Length == 0))
            {
                throw TokenizerFile.Unsupported(path, "a split pattern that matches the empty text",
                    "a pattern whose matches have a length");
            }
            return compiled;
        }
        catch (RegexParseException e)
        {
            throw TokenizerFile.Unsupported(path, $"a split pattern that is not valid ({e.Message.Split('\n')[0]})",
                "a regular expression");
        }
    }

    /// <summary>The words of a normalized text, in order: every character is in one.</summary>
    /// <exception cref="RegexMatchTimeoutException">The file's pattern takes too long.</exception>
    public IEnumerable<Range> Split(string text)
    {
        if (Pattern is not null) return ByPattern(text);
        return _splitsAtSpaces ? AtSpaces(text) : [Range.All];
    }

    /// <summary>What the pattern does not match is a word too.</summary>
    private IEnumerable<Range> ByPattern(string text)
    {
        (string matched, int[]? places) = StandIns.Of(text);
        int end = 0;
        for (Match match = Pattern!.Match(matched); match.Success; match = match.NextMatch())
        {
            if (match.Index > end) yield return Place(end)..Place(match.Index);
            end = match.Index + match.Length;
            yield return Place(match.Index)..Place(end);
        }
        if (end < matched.Length) yield return Place(end)..;

        int Place(int index) => places?[index] ?? index;
    }

    /// <summary>Before each run of signs for spaces, which no token reaches into from the left.</summary>
    private static IEnumerable<Range> AtSpaces(string text)
    {
        int begin = 0;
        for (int i = 1; i < text.Length; i++)
        {
            if (text[i] != TextNormalizer.Space || text[i - 1] == TextNormalizer.Space) continue;
            yield return begin..i;
            begin = i;
        }
        yield return begin..;
    }
}
