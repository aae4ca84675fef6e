using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using ArmoFlow.RewardModel.Files;

namespace ArmoFlow.RewardModel.Text;

/// <summary>A stretch of a rendered conversation.</summary>
/// <param name="Text">The text.</param>
/// <param name="IsTemplates">True for what the template writes; false for what a message says.</param>
public readonly record struct TextRun(string Text, bool IsTemplates);

/// <summary>
/// Byte-pair encoding by a Hugging Face tokenizer.json: of bytes (Llama 3, Qwen, OLMo 2, Phi-4, Mistral's Tekken) or of characters
/// with bytes where there is no token for one (SentencePiece: Llama 2, Mistral, Gemma, Phi-3). Ids are those of Hugging Face's
/// tokenizers; a file of any other kind is refused by name.
/// </summary>
public sealed class BpeTokenizer
{
    private const int LongestKept = 64, MostKept = 1 << 16; // characters of a word, and words

    private readonly BpeVocabulary _vocabulary;
    private readonly AddedTokens _added;
    private readonly TextNormalizer _normalizer;
    private readonly WordSplitter _words;
    private readonly WordMerger _merger;
    private readonly bool _takesWholeWords;
    private readonly int[] _bytes; // the token of each byte
    private readonly int _longestToken, _largestId;
    private readonly string _path;
    private readonly Lazy<HashSet<int>> _blanks;
    private readonly ConcurrentDictionary<string, int[]> _kept = new(StringComparer.Ordinal);

    private BpeTokenizer(JsonElement root, string path, IReadOnlyCollection<string> controls)
    {
        JsonElement model = root.GetProperty("model");
        RequireBpe(model, path);
        _path = path;
        _vocabulary = BpeVocabulary.Read(model, path);
        _normalizer = TextNormalizer.Read(root, path);
        _words = WordSplitter.Read(root, _normalizer, _vocabulary, path);
        _takesWholeWords = TokenizerFile.IsTrue(model, "ignore_merges");
        if (!_words.IsByteLevel && !TokenizerFile.IsTrue(model, "byte_fallback"))
            throw TokenizerFile.Unsupported(path, "characters without byte_fallback", "byte-level BPE, or SentencePiece's with bytes");
        if (_words.IsByteLevel && !_normalizer.IsPlain)
            throw TokenizerFile.Unsupported(path, "signs for spaces before ByteLevel", "one of the two");
        _added = AddedTokens.Read(root.GetProperty("added_tokens"), _normalizer, controls, path);
        _added.RequireOwnIds(_vocabulary.Ids, path);
        _bytes = [.. Enumerable.Range(0, 256).Select(value => ByteToken((byte)value))];
        _merger = new WordMerger(_vocabulary.Merges);
        _blanks = new(FindBlanks);
        // No token stands for more bytes, but for one that takes the white space around it along.
        _longestToken = _vocabulary.Ids.Keys.Concat(_added.Tokens.Keys).Max(Encoding.UTF8.GetByteCount);
        _largestId = _vocabulary.Ids.Values.Concat(_added.Tokens.Values.Select(t => t.Id)).Max();
    }

    /// <summary>What it merges, in a few words.</summary>
    public string Kind => _words.IsByteLevel ? "byte-level BPE" : "SentencePiece BPE with bytes";

    /// <summary>Opens a tokenizer.json.</summary>
    /// <param name="path">The file.</param>
    /// <param name="controls">Added tokens that are control tokens, whatever the file says of them.</param>
    /// <exception cref="InvalidInputException">The file is missing or of a kind that we cannot tokenize exactly.</exception>
    public static BpeTokenizer Load(string path, IReadOnlyCollection<string>? controls = null) =>
        SmallJson.Read(path, "a tokenizer.json in the layout of Hugging Face's tokenizers", "Copy it beside config.json.",
            root => new BpeTokenizer(root, path, controls ?? []));

    private static void RequireBpe(JsonElement model, string path)
    {
        string type = TokenizerFile.Member(model, "type")?.GetString() ?? "BPE"; // old files leave it out
        if (type != "BPE") throw TokenizerFile.Unsupported(path, $"a tokenizer of type '{type}'", "BPE");
        foreach (string name in new[] { "dropout", "continuing_subword_prefix", "end_of_word_suffix" })
        {
            if (TokenizerFile.Member(model, name) is not { } value) continue;
            bool isEmpty = value.ValueKind == JsonValueKind.String && value.GetString()!.Length == 0;
            if (!isEmpty) throw TokenizerFile.Unsupported(path, $"model.{name} {value.GetRawText()}", "none");
        }
    }

    /// <summary>A byte without a token would vanish from the text.</summary>
    private int ByteToken(byte value)
    {
        string spelling = _words.IsByteLevel ? ByteAlphabet.Encode([value])
            : string.Create(CultureInfo.InvariantCulture, $"<0x{value:X2}>");
        return _vocabulary.Ids.TryGetValue(spelling, out int id) ? id
            : throw TokenizerFile.Unsupported(_path, $"no token for the byte {value} ('{spelling}')", "one for each of the 256");
    }

    /// <summary>The ids of a text in which whatever spells an added token is one; nothing is put before or after it.</summary>
    /// <exception cref="InvalidInputException">The file's split pattern takes too long on the text.</exception>
    public IReadOnlyList<int> Encode(string text, CancellationToken cancel = default) => Encode([new TextRun(text, true)], cancel);

    /// <summary>
    /// The ids of a text of which parts are a template's: control tokens stand only there. Added tokens that are no control tokens
    /// count wherever they stand.
    /// </summary>
    /// <exception cref="InvalidInputException">The file's split pattern takes too long on the text.</exception>
    public IReadOnlyList<int> Encode(IReadOnlyList<TextRun> runs, CancellationToken cancel = default)
    {
        List<int> ids = [];
        foreach (TextPart part in _added.Split(runs))
        {
            cancel.ThrowIfCancellationRequested();
            if (part.Token is { } token) ids.Add(token);
            else EncodeWords(_normalizer.Apply(part.Text, part.At == 0), ids, cancel);
        }
        return ids;
    }

    private void EncodeWords(string text, List<int> into, CancellationToken cancel)
    {
        try
        {
            foreach (Range range in _words.Split(text))
            {
                cancel.ThrowIfCancellationRequested();
                EncodeWord(text[range], into, cancel);
            }
        }
        catch (RegexMatchTimeoutException)
        {
            throw new InvalidInputException(_path,
                $"a split pattern that takes more than 5 s on a text of {text.Length:N0} characters",
                "a pattern whose time grows with the text", "Use the tokenizer.json that the backbone was published with.");
        }
    }

    private void EncodeWord(string word, List<int> into, CancellationToken cancel)
    {
        if (_kept.TryGetValue(word, out int[]? known))
        {
            into.AddRange(known);
            return;
        }
        int from = into.Count;
        string spelling = _words.IsByteLevel ? ByteAlphabet.Encode(Encoding.UTF8.GetBytes(word)) : word;
        if (_takesWholeWords && _vocabulary.Ids.TryGetValue(spelling, out int whole) && !_added.IsControl(whole)) into.Add(whole);
        else _merger.Merge(Symbols(word), into, cancel);
        if (word.Length <= LongestKept && _kept.Count < MostKept) _kept[word] = [.. into[from..]];
    }

    /// <summary>The ids of a word's smallest parts.</summary>
    private int[] Symbols(string word)
    {
        if (_words.IsByteLevel) return [.. Encoding.UTF8.GetBytes(word).Select(value => _bytes[value])];
        List<int> symbols = new(word.Length);
        Span<byte> bytes = stackalloc byte[4];
        foreach (Rune rune in word.EnumerateRunes())
        {
            if (_vocabulary.Ids.TryGetValue(rune.ToString(), out int id)) symbols.Add(id);
            else foreach (byte value in bytes[..rune.EncodeToUtf8(bytes)]) symbols.Add(_bytes[value]);
        }
        return [.. symbols];
    }

    /// <summary>True where a text spells a control token.</summary>
    public bool SpellsSpecial(string text) => _added.SpellsSpecial(text);

    /// <summary>True for the id of a control token.</summary>
    public bool IsControl(int id) => _added.IsControl(id);

    /// <summary>True for the id of a token that stands for white space alone.</summary>
    public bool IsBlank(int id) => _blanks.Value.Contains(id);

    private HashSet<int> FindBlanks()
    {
        const string Blanks = " \t\n\v\f\r";
        string inVocabulary = _words.IsByteLevel ? ByteAlphabet.Encode(Encoding.ASCII.GetBytes(Blanks)) : Blanks + TextNormalizer.Space;
        HashSet<char> signs = [.. inVocabulary];
        IEnumerable<int> alone = _words.IsByteLevel ? [] : Blanks.Select(c => _bytes[c]);
        return [.. alone, .. _vocabulary.Ids.Where(token => token.Key.All(signs.Contains)).Select(token => token.Value)];
    }

    /// <summary>The added token of a spelling; null where there is none.</summary>
    internal AddedToken? Added(string spelling) => _added.Tokens.GetValueOrDefault(spelling);

    /// <summary>Tokens that a text of so many bytes has at least: none stands for more than the longest of the vocabulary.</summary>
    public long FewestTokens(long bytes) => bytes / _longestToken / (_normalizer.Composes ? TextNormalizer.MostComposed : 1);

    /// <summary>Refuses a tokenizer whose ids go beyond the backbone's embedding.</summary>
    /// <exception cref="InvalidInputException">They do.</exception>
    public BpeTokenizer RequireWithin(int vocabularySize)
    {
        if (_largestId < vocabularySize) return this;
        throw new InvalidInputException(_path, $"a token with id {_largestId}",
            $"ids below {vocabularySize}, the vocab_size of config.json",
            "The tokenizer and the weights do not belong together; fetch the checkpoint again.");
    }
}
