using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using ArmoFlow.RewardModel.Files;
using Microsoft.ML.Tokenizers;

namespace ArmoFlow.RewardModel.Text;

/// <summary>A conversation as token ids, with the position of f(x): the end-of-turn token that closes the prompt.</summary>
public sealed record EncodedConversation(string Id, string PromptId, int[] Tokens, int PromptPosition);

/// <summary>
/// Byte-level BPE from a Hugging Face tokenizer.json. The vocabulary, its byte alphabet undone and its ids as ranks, goes to
/// TiktokenTokenizer, which is exact where ids stand in merge order; any other kind is refused by name.
/// </summary>
public sealed class LlamaTokenizer
{
    private const string PatternProbe = "It's a  probe, of 3 kinds:\n\tletters, 42 and çé! ";
    private const int LongWord = 512; // characters; the library's merges take time that grows with the square of a word's length
    private static readonly TimeSpan LongestMatch = TimeSpan.FromSeconds(5);

    private readonly TiktokenTokenizer _tokenizer;
    private readonly RegexPreTokenizer _words;
    private readonly AddedTokens _added;
    private readonly WordMerger _merger;
    private readonly bool _isByRank; // two tokens merge wherever their whole is a token: what the library does
    private readonly int _longestToken, _largestId;
    private readonly string _path;

    /// <summary>
    /// False, unless asked for otherwise: a conversation's text that spells a control token, such as &lt;|eot_id|&gt;, is text, and
    /// cannot forge a turn. True for what Hugging Face's tokenizers do.
    /// </summary>
    public bool AllowsSpecials { get; init; }

    private LlamaTokenizer(TiktokenTokenizer tokenizer, RegexPreTokenizer words, Dictionary<string, int> vocabulary, AddedTokens added,
        WordMerger merger, bool isByRank, string path)
    {
        _tokenizer = tokenizer;
        _words = words;
        _added = added;
        _merger = merger;
        _isByRank = isByRank;
        _longestToken = vocabulary.Keys.Concat(added.Tokens.Keys).Max(Encoding.UTF8.GetByteCount); // no token stands for more bytes
        _largestId = vocabulary.Values.Concat(added.Tokens.Values.Select(t => t.Id)).Max();
        _path = path;
    }

    /// <summary>Opens a tokenizer.json.</summary>
    /// <param name="path">The file.</param>
    /// <param name="allowsSpecials">See <see cref="AllowsSpecials"/>.</param>
    /// <exception cref="InvalidInputException">The file is missing or of a kind that we cannot tokenize exactly.</exception>
    public static LlamaTokenizer Load(string path, bool allowsSpecials = false) =>
        SmallJson.Read(path, "a tokenizer.json in the layout of Hugging Face's tokenizers", "Copy it beside config.json.",
            root => Create(root, path, allowsSpecials));

    private static LlamaTokenizer Create(JsonElement root, string path, bool allowsSpecials)
    {
        JsonElement model = root.GetProperty("model");
        RequireByteLevel(root, model, path);
        Dictionary<string, int> vocabulary = new(StringComparer.Ordinal);
        foreach (JsonProperty token in model.GetProperty("vocab").EnumerateObject()) vocabulary[token.Name] = token.Value.GetInt32();
        RequireIds(vocabulary, path);
        HashSet<(int Left, int Right)> merges = MergesInIdOrder(model.GetProperty("merges"), vocabulary, path);
        bool takesWholeWords = model.TryGetProperty("ignore_merges", out JsonElement ignored) && ignored.ValueKind == JsonValueKind.True;

        AddedTokens added = AddedTokens.Read(root.GetProperty("added_tokens"), path);
        RequireOwnIds(added, vocabulary, path);
        foreach (string token in added.Tokens.Keys) vocabulary.Remove(token); // these are no parts of words
        if (vocabulary.Count == 0) throw Unsupported(path, "an empty vocabulary", "byte-level BPE");

        StringBuilder ranks = new();
        foreach ((string token, int id) in vocabulary.OrderBy(x => x.Value))
            ranks.Append(Convert.ToBase64String(ByteAlphabet.Decode(token, path))).Append(' ').Append(id).Append('\n');
        RequireEveryByte(vocabulary, path);
        RegexPreTokenizer words = new(Compile(SplitPattern(root.GetProperty("pre_tokenizer"), path), path), null);
        using MemoryStream stream = new(Encoding.ASCII.GetBytes(ranks.ToString()));
        bool isByRank = takesWholeWords && AreAllMerges(merges, vocabulary);
        WordMerger merger = new(vocabulary, isByRank ? null : merges, takesWholeWords);
        return new LlamaTokenizer(TiktokenTokenizer.Create(stream, words, null), words, vocabulary, added, merger, isByRank, path)
        {
            AllowsSpecials = allowsSpecials,
        };
    }

    /// <exception cref="InvalidInputException">It is a tokenizer of another kind.</exception>
    private static void RequireByteLevel(JsonElement root, JsonElement model, string path)
    {
        string type = model.GetProperty("type").GetString() ?? "";
        if (type != "BPE") throw Unsupported(path, $"a tokenizer of type '{type}'", "byte-level BPE");
        if (root.TryGetProperty("normalizer", out JsonElement normalizer) && normalizer.ValueKind != JsonValueKind.Null)
            throw Unsupported(path, $"a normalizer '{normalizer.GetProperty("type").GetString()}'", "none");
        if (model.TryGetProperty("byte_fallback", out JsonElement fallback) && fallback.ValueKind == JsonValueKind.True)
            throw Unsupported(path, "byte fallback (a SentencePiece vocabulary)", "byte-level BPE");
        foreach (string name in new[] { "dropout", "continuing_subword_prefix", "end_of_word_suffix" })
        {
            bool isSet = model.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null
                && !(value.ValueKind == JsonValueKind.String && value.GetString()!.Length == 0);
            if (isSet) throw Unsupported(path, $"model.{name} {value.GetRawText()}", "none");
        }
    }

    /// <summary>The file's own pattern; one that backtracks without end is given up.</summary>
    private static Regex Compile(string pattern, string path)
    {
        try
        {
            Regex compiled = new(pattern, RegexOptions.Compiled | RegexOptions.CultureInvariant, LongestMatch);
            // Whoever splits by a pattern that matches nothing at all stays where it is.
            if (compiled.Matches(PatternProbe).Any(m => m.Length == 0))
                throw Unsupported(path, "a split pattern that matches the empty text", "a pattern whose matches have a length");
            return compiled;
        }
        catch (RegexParseException e)
        {
            throw Unsupported(path, $"a split pattern that is not valid ({e.Message.Split('\n')[0]})", "a regular expression");
        }
    }

    /// <summary>A text's ids, with what spells a control token as that token.</summary>
    /// <exception cref="InvalidInputException">The file's split pattern takes too long on the text.</exception>
    public int[] Encode(string text, CancellationToken cancel = default) => [.. Encode(text, withSpecial: true, cancel)];

    private List<int> Encode(string text, bool withSpecial, CancellationToken cancel)
    {
        List<int> ids = [];
        foreach (TextPart part in _added.Split(text, withSpecial))
        {
            if (part.Token is { } token) ids.Add(token);
            else EncodeWords(part.Text, ids, cancel);
        }
        return ids;
    }

    private void EncodeWords(string text, List<int> into, CancellationToken cancel)
    {
        try
        {
            if (!_isByRank || HasLongWord(text)) EncodeByWords(text, into, cancel);
            else into.AddRange(EncodeByLibrary(text));
        }
        catch (RegexMatchTimeoutException)
        {
            throw new InvalidInputException(_path,
                $"a split pattern that takes more than {LongestMatch.TotalSeconds:f0} s on a text of {text.Length:N0} characters",
                    "a pattern whose time grows with the text", "Use the tokenizer.json that the backbone was published with.");
        }
    }

    internal IReadOnlyList<int> EncodeByLibrary(string text) => _tokenizer.EncodeToIds(text);

    private bool HasLongWord(string text)
    {
        if (text.Length <= LongWord) return false;
        foreach ((int _, int length) in _words.PreTokenize(text))
        {
            if (length > LongWord) return true;
        }
        return false;
    }

    /// <summary>Word by word, so that long ones are merged in another way. The ids are those of the library.</summary>
    internal void EncodeByWords(string text, List<int> into, CancellationToken cancel)
    {
        foreach ((int offset, int length) in _words.PreTokenize(text))
        {
            cancel.ThrowIfCancellationRequested();
            _merger.Merge(ByteAlphabet.Encode(Encoding.UTF8.GetBytes(text.Substring(offset, length))), into, cancel);
        }
    }

    /// <summary>Encodes a templated conversation. The two parts meet at a special token, which no merge crosses.</summary>
    public EncodedConversation Encode(Conversation conversation, CancellationToken cancel = default)
    {
        List<int> prompt = EncodeTurns(conversation.Prompt, first: true, cancel);
        List<int> response = EncodeTurns([conversation.Response], first: false, cancel);
        return new EncodedConversation(conversation.Id, conversation.PromptId, [.. prompt, .. response], prompt.Count - 1);
    }

    /// <summary>
    /// The ids of rendered turns. Where a content spells a control token, it is encoded apart from the tokens around it, as text;
    /// anywhere else the rendered text gives the same ids.
    /// </summary>
    private List<int> EncodeTurns(IEnumerable<Message> turns, bool first, CancellationToken cancel)
    {
        Message[] all = [.. turns];
        bool isPlain = AllowsSpecials || !Array.Exists(all, SpellsSpecial);
        if (isPlain) return Encode(ChatTemplate.Render(all, first), withSpecial: true, cancel);
        List<int> ids = first ? Encode(ChatTemplate.BeginOfText, withSpecial: true, cancel) : [];
        foreach (Message turn in all)
        {
            ids.AddRange(Encode(ChatTemplate.StartHeader + turn.Role + ChatTemplate.EndHeader, withSpecial: true, cancel));
            ids.AddRange(Encode("\n\n" + PythonText.Strip(turn.Content), withSpecial: false, cancel));
            ids.AddRange(Encode(ChatTemplate.EndOfTurn, withSpecial: true, cancel));
        }
        return ids;
    }

    private bool SpellsSpecial(Message message) => _added.SpellsSpecial(message.Content);

    /// <summary>True where a content spells a control token of this tokenizer.</summary>
    public bool SpellsSpecial(Conversation conversation) => conversation.Messages.Any(SpellsSpecial);

    /// <summary>
    /// The same for a conversation within a limit of tokens; null for a longer one, which is not encoded where its length alone
    /// tells.
    /// </summary>
    public EncodedConversation? EncodeWithin(Conversation conversation, int maxTokens, CancellationToken cancel = default)
    {
        if (FewestTokens(conversation) > maxTokens) return null;
        EncodedConversation encoded = Encode(conversation, cancel);
        return encoded.Tokens.Length <= maxTokens ? encoded : null;
    }

    /// <summary>Tokens that a conversation has at least: no token stands for more bytes than the longest of the vocabulary.</summary>
    public long FewestTokens(Conversation conversation) =>
        conversation.Messages.Sum(m => (long)Encoding.UTF8.GetByteCount(m.Content)) / _longestToken;

    /// <summary>
    /// Refuses a tokenizer that lacks a token of the chat template, or whose template would swallow what stands around one.
    /// </summary>
    public LlamaTokenizer RequireTemplateTokens()
    {
        foreach (string token in ChatTemplate.Tokens)
        {
            if (!_added.Tokens.TryGetValue(token, out AddedToken? found))
            {
                throw new InvalidInputException(_path, $"no added token '{token}'", "the tokens of Llama-3's chat template",
                    "Use the tokenizer of a Llama-3 chat model.");
            }
            if (found.StripsLeft || found.StripsRight)
            {
                throw Unsupported(_path, $"the token '{token}' with {(found.StripsLeft ? "lstrip" : "rstrip")}",
                    "template tokens that leave the text around them");
            }
        }
        return this;
    }

    /// <summary>Refuses a tokenizer whose ids go beyond the backbone's embedding.</summary>
    /// <exception cref="InvalidInputException">They do.</exception>
    public LlamaTokenizer RequireWithin(int vocabularySize)
    {
        if (_largestId < vocabularySize) return this;
        throw new InvalidInputException(_path, $"a token with id {_largestId}",
            $"ids below {vocabularySize}, the vocab_size of config.json",
                "The tokenizer and the weights do not belong together; fetch the checkpoint again.");
    }

    private static void RequireIds(Dictionary<string, int> vocabulary, string path)
    {
        HashSet<int> seen = [];
        foreach ((string token, int id) in vocabulary)
        {
            if (id < 0 || !seen.Add(id))
            {
                throw Unsupported(path, $"token '{token}' with id {id}, {(id < 0 ? "below 0" : "which another has")}",
                    "an id from 0 up for each token");
            }
        }
    }

    /// <summary>A byte without a token would vanish from the text.</summary>
    private static void RequireEveryByte(Dictionary<string, int> vocabulary, string path)
    {
        for (int value = 0; value <= byte.MaxValue; value++)
        {
            if (!vocabulary.ContainsKey(ByteAlphabet.Encode([(byte)value])))
                throw Unsupported(path, $"no token for the byte {value}", "one for each of the 256");
        }
    }

    /// <summary>A token that is looked for in the text itself has the id that the vocabulary gives it, and no other has that.</summary>
    private static void RequireOwnIds(AddedTokens added, Dictionary<string, int> vocabulary, string path)
    {
        Dictionary<int, string> spellings = vocabulary.ToDictionary(v => v.Value, v => v.Key);
        foreach (AddedToken token in added.Tokens.Values)
        {
            bool isOwn =
                vocabulary.TryGetValue(token.Content, out int known) ? known == token.Id : spellings.TryAdd(token.Id, token.Content);
            if (!isOwn)
            {
                throw Unsupported(path, $"the added token '{token.Content}' with id {token.Id}, which is "
                    + $"'{(spellings.TryGetValue(token.Id, out string? other) ? other : "no token")}' in the vocabulary",
                    "an id of its own");
            }
        }
    }

    /// <summary>
    /// Whether the merges are all that the vocabulary allows: then the ranks of the tokens alone say what merges, as in Llama-3.
    /// </summary>
    private static bool AreAllMerges(HashSet<(int Left, int Right)> merges, Dictionary<string, int> vocabulary)
    {
        Dictionary<string, int>.AlternateLookup<ReadOnlySpan<char>> tokens = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        foreach (string token in vocabulary.Keys)
        {
            for (int at = 1; at < token.Length; at++)
            {
                bool isPair = tokens.TryGetValue(token.AsSpan(0, at), out int left) & tokens.TryGetValue(token.AsSpan(at), out int right);
                if (isPair && !merges.Contains((left, right))) return false;
            }
        }
        return true;
    }

    private static HashSet<(int Left, int Right)> MergesInIdOrder(JsonElement list, Dictionary<string, int> vocabulary, string path)
    {
        HashSet<(int Left, int Right)> merges = [];
        int last = -1;
        foreach (JsonElement merge in list.EnumerateArray())
        {
            string[] parts = merge.ValueKind == JsonValueKind.Array
                ? [merge[0].GetString()!, merge[1].GetString()!]
                : merge.GetString()!.Split(' ');
            string token = string.Concat(parts);
            int left = 0, right = 0;
            bool isPair = parts.Length == 2 && vocabulary.TryGetValue(parts[0], out left) && vocabulary.TryGetValue(parts[1], out right);
            if (!isPair) throw Unsupported(path, $"the merge '{string.Join(' ', parts)}'", "two tokens of the vocabulary");
            merges.Add((left, right));
            if (!vocabulary.TryGetValue(token, out int id) || id < last)
                throw Unsupported(path, $"merges out of id order (at '{token}')", "ids that grow with the merges");
            last = id;
        }
        return merges;
    }

    private static string SplitPattern(JsonElement preTokenizer, string path)
    {
        string type = preTokenizer.GetProperty("type").GetString() ?? "";
        if (type == "Sequence")
        {
            JsonElement[] parts = [.. preTokenizer.GetProperty("pretokenizers").EnumerateArray()];
            if (parts.Length == 2
                && parts[0].GetProperty("type").GetString() == "Split"
                && parts[1].GetProperty("type").GetString() == "ByteLevel"
                && !parts[1].GetProperty("add_prefix_space").GetBoolean() && !parts[1].GetProperty("use_regex").GetBoolean()
                && parts[0].GetProperty("behavior").GetString() == "Isolated"
                && !(parts[0].TryGetProperty("invert", out JsonElement invert) && invert.GetBoolean())
                && parts[0].GetProperty("pattern").TryGetProperty("Regex", out JsonElement regex))
                return regex.GetString()!;
        }
        throw Unsupported(path, $"a pre-tokenizer '{type}' of another form", "a regular-expression split followed by ByteLevel");
    }

    private static InvalidInputException Unsupported(string path, string found, string expected) =>
        new(path, found, expected, "This tokenizer cannot be reproduced exactly here; use a Llama-3 style backbone.");
}

/// <summary>GPT-2's printable stand-ins for the 256 bytes, undone.</summary>
public static class ByteAlphabet
{
    private static readonly Dictionary<char, byte> ToByte = Build();
    private static readonly Dictionary<byte, char> ToChar = ToByte.ToDictionary(x => x.Value, x => x.Key);

    private static Dictionary<char, byte> Build()
    {
        Dictionary<char, byte> map = [];
        int next = 256;
        for (int b = 0; b < 256; b++)
        {
            bool printable = b is >= '!' and <= '~' or >= 0xa1 and <= 0xac or >= 0xae and <= 0xff;
            map[(char)(printable ? b : next++)] = (byte)b;
        }
        return map;
    }

    /// <summary>The bytes of a token.</summary>
    /// <param name="token">As a vocabulary spells it.</param>
    /// <param name="path">The vocabulary, for the error.</param>
    /// <exception cref="InvalidInputException">A character is not of the alphabet.</exception>
    public static byte[] Decode(string token, string path)
    {
        byte[] bytes = new byte[token.Length];
        for (int i = 0; i < token.Length; i++)
        {
            if (!ToByte.TryGetValue(token[i], out bytes[i]))
            {
                throw new InvalidInputException(path, $"token '{token}' with a character outside the byte alphabet",
                    "a byte-level vocabulary", "Use a Llama-3 style backbone.");
            }
        }
        return bytes;
    }

    /// <summary>Bytes as a vocabulary spells them.</summary>
    /// <param name="bytes">Any bytes.</param>
    public static string Encode(ReadOnlySpan<byte> bytes)
    {
        StringBuilder text = new(bytes.Length);
        foreach (byte b in bytes) text.Append(ToChar[b]);
        return text.ToString();
    }
}
