using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace ArmoFlow.RewardModel.Text;

/// <summary>A token that is looked for in the text itself, before it is split into words.</summary>
/// <param name="Content">Its spelling.</param>
/// <param name="Id">Its id.</param>
/// <param name="IsSpecial">True for control tokens, which no message may spell.</param>
/// <param name="IsNormalized">True where it is looked for after all others.</param>
/// <param name="StripsLeft">Takes the white space before it along.</param>
/// <param name="StripsRight">Takes the white space after it along.</param>
internal sealed record AddedToken(string Content, int Id, bool IsSpecial, bool IsNormalized, bool StripsLeft, bool StripsRight);

/// <summary>A part of a text: a token's id, or text to be split into words.</summary>
/// <param name="Token">The token; null for text.</param>
/// <param name="Text">The text.</param>
/// <param name="At">Where it stands in the whole text.</param>
internal readonly record struct TextPart(int? Token, string Text, int At);

/// <summary>
/// The added tokens of a tokenizer.json, found in a text as Hugging Face's library finds them: of those that begin at the same
/// place the longest, from left to right, first the ones that are not normalized. Source: tokenizers, added_vocabulary.rs.
/// </summary>
internal sealed class AddedTokens
{
    private readonly Dictionary<string, AddedToken> _tokens;
    private readonly Finder _first, _second;
    private readonly Regex? _special;
    private readonly HashSet<int> _controls;

    private AddedTokens(Dictionary<string, AddedToken> tokens)
    {
        _tokens = tokens;
        _first = new Finder(tokens.Values.Where(t => !t.IsNormalized));
        _second = new Finder(tokens.Values.Where(t => t.IsNormalized));
        _special = Finder.Any(tokens.Values.Where(t => t.IsSpecial));
        _controls = [.. tokens.Values.Where(t => t.IsSpecial).Select(t => t.Id)];
    }

    public IReadOnlyDictionary<string, AddedToken> Tokens => _tokens;

    /// <param name="list">The member added_tokens.</param>
    /// <param name="normalizer">What is done to a text.</param>
    /// <param name="controls">Tokens that are control tokens, whatever the file says of them.</param>
    /// <param name="path">The file, for errors.</param>
    /// <exception cref="InvalidInputException">A token cannot be looked for exactly.</exception>
    public static AddedTokens Read(
        JsonElement list, TextNormalizer normalizer, IReadOnlyCollection<string> controls, string path)
    {
        Dictionary<string, AddedToken> tokens = new(StringComparer.Ordinal);
        foreach (JsonElement token in list.EnumerateArray())
        {
            string content = token.GetProperty("content").GetString() ?? throw new JsonException("an added token without a spelling");
            if (content.Length == 0) continue; // as the library does
            if (TokenizerFile.IsTrue(token, "single_word"))
            {
                throw TokenizerFile.Unsupported(path, $"the added token '{content}' with single_word",
                    "added tokens that count wherever they stand");
            }
            // Looked for in the normalized text, in which it may be spelled otherwise.
            bool isNormalized = TokenizerFile.IsTrue(token, "normalized");
            if (isNormalized && !(normalizer.IsPlain && Ascii.IsValid(content)))
            {
                throw TokenizerFile.Unsupported(path, $"the added token '{content}' that is normalized",
                    "added tokens that are looked for as they are spelled");
            }
            tokens[content] = new AddedToken(content, token.GetProperty("id").GetInt32(),
                TokenizerFile.IsTrue(token, "special") || controls.Contains(content), isNormalized,
                TokenizerFile.IsTrue(token, "lstrip"), TokenizerFile.IsTrue(token, "rstrip"));
        }
        return new AddedTokens(tokens);
    }

    /// <summary>Refuses a token with another id than the vocabulary gives it, or with that of another.</summary>
    /// <exception cref="InvalidInputException">There is one.</exception>
    public void RequireOwnIds(Dictionary<string, int> vocabulary, string path)
    {
        Dictionary<int, string> spellings = vocabulary.ToDictionary(v => v.Value, v => v.Key);
        foreach (AddedToken token in _tokens.Values)
        {
            bool isOwn =
                vocabulary.TryGetValue(token.Content, out int known) ? known == token.Id : spellings.TryAdd(token.Id, token.Content);
            if (isOwn) continue;
            throw TokenizerFile.Unsupported(path, $"the added token '{token.Content}' with id {token.Id}, which is "
                + $"'{(spellings.TryGetValue(token.Id, out string? other) ? other : "no token")}' in the vocabulary",
                "an id of its own");
        }
    }

    /// <summary>True for the id of a control token.</summary>
    public bool IsControl(int id) => _controls.Contains(id);

    /// <summary>True where a text spells a control token.</summary>
    public bool SpellsSpecial(string text) => _special?.IsMatch(text) == true;

    /// <summary>The parts of a text, in order; none is empty. A control token stands in one run of the template's.</summary>
    public IEnumerable<TextPart> Split(IReadOnlyList<TextRun> runs)
    {
        string text = string.Concat(runs.Select(run => run.Text));
        int[] messages = Bounds(runs);
        return _first.Split(new TextPart(null, text, 0), messages)
            .SelectMany(part => part.Token is not null ? [part] : _second.Split(part, messages));
    }

    /// <summary>Where messages begin and end, one after the other; of two that meet neither.</summary>
    private static int[] Bounds(IReadOnlyList<TextRun> runs)
    {
        List<int> bounds = [];
        int at = 0;
        foreach (TextRun run in runs)
        {
            if (!run.IsTemplates && run.Text.Length > 0)
            {
                bool meets = bounds.Count > 0 && bounds[^1] == at;
                if (meets) bounds.RemoveAt(bounds.Count - 1);
                else bounds.Add(at);
                bounds.Add(at + run.Text.Length);
            }
            at += run.Text.Length;
        }
        return [.. bounds];
    }

    /// <summary>Finds tokens of some kind in a text.</summary>
    private sealed class Finder
    {
        private readonly Dictionary<string, AddedToken> _tokens;
        private readonly Regex? _all, _plainHere;

        public Finder(IEnumerable<AddedToken> tokens)
        {
            _tokens = tokens.ToDictionary(t => t.Content, StringComparer.Ordinal);
            _all = Any(_tokens.Values);
            _plainHere = Any(_tokens.Values.Where(t => !t.IsSpecial), @"\G");
        }

        /// <summary>Null where there is none. Longer spellings first: an alternation takes the first that fits.</summary>
        public static Regex? Any(IEnumerable<AddedToken> tokens, string before = "")
        {
            string[] longestFirst = [.. tokens.Select(t => t.Content)
                .OrderByDescending(c => c.Length)
                .ThenBy(c => c, StringComparer.Ordinal)
                .Select(Regex.Escape)];
            return longestFirst.Length == 0 ? null
                : new Regex($"{before}(?:{string.Join('|', longestFirst)})", RegexOptions.CultureInvariant | RegexOptions.Compiled);
        }

        /// <param name="whole">Text, and where it stands.</param>
        /// <param name="messages">Where messages begin and end there.</param>
        public IEnumerable<TextPart> Split(TextPart whole, int[] messages)
        {
            string text = whole.Text;
            int begin = 0, from = 0;
            while (_all is not null && _all.Match(text, from) is { Success: true } match)
            {
                AddedToken? token = _tokens[match.Value];
                if (token.IsSpecial && !IsTemplates(whole.At + match.Index, match.Length, messages))
                    token = _plainHere?.Match(text, match.Index) is { Success: true } plain ? _tokens[plain.Value] : null;
                if (token is null)
                {
                    from = match.Index + 1;
                    continue;
                }
                string before = text[begin..match.Index];
                if (token.StripsLeft) before = before.TrimEnd();
                if (before.Length > 0) yield return new TextPart(null, before, whole.At + begin);
                yield return new TextPart(token.Id, token.Content, whole.At + match.Index);
                begin = match.Index + token.Content.Length;
                if (token.StripsRight) begin += text.Length - begin - text.AsSpan(begin).TrimStart().Length;
                from = begin;
            }
            if (begin < text.Length) yield return new TextPart(null, text[begin..], whole.At + begin);
        }

        /// <summary>True where no message has any of it.</summary>
        private static bool IsTemplates(int index, int length, int[] messages)
        {
            int at = Array.BinarySearch(messages, index);
            int before = at >= 0 ? at + 1 : ~at; // bounds up to its first character
            bool startsInside = before % 2 == 1;
            return !startsInside && (before == messages.Length || messages[before] >= index + length);
        }
    }
}
