using System.Text.Json;
using System.Text.RegularExpressions;

namespace ArmoFlow.RewardModel.Text;

/// <summary>A token that is looked for in the text itself, before it is split into words.</summary>
/// <param name="Content">Its spelling.</param>
/// <param name="Id">Its id.</param>
/// <param name="IsSpecial">True for control tokens, which no text may spell.</param>
/// <param name="IsNormalized">True where it is looked for after all others.</param>
/// <param name="StripsLeft">Takes the white space before it along.</param>
/// <param name="StripsRight">Takes the white space after it along.</param>
internal sealed record AddedToken(string Content, int Id, bool IsSpecial, bool IsNormalized, bool StripsLeft, bool StripsRight);

/// <summary>A part of a text: a token's id, or text to be split into words.</summary>
internal readonly record struct TextPart(int? Token, string Text);

/// <summary>
/// The added tokens of a tokenizer.json, found in a text as Hugging Face's library finds them: of those that begin at the same
/// place the longest, from left to right, first the ones that are not normalized. Source: tokenizers, added_vocabulary.rs.
/// </summary>
internal sealed class AddedTokens
{
    private readonly Dictionary<string, AddedToken> _tokens;
    private readonly Regex? _first, _second, _special;

    private AddedTokens(Dictionary<string, AddedToken> tokens)
    {
        _tokens = tokens;
        _first = Any(tokens.Values.Where(t => !t.IsNormalized));
        _second = Any(tokens.Values.Where(t => t.IsNormalized));
        _special = Any(tokens.Values.Where(t => t.IsSpecial));
    }

    public IReadOnlyDictionary<string, AddedToken> Tokens => _tokens;

    /// <param name="list">The member added_tokens.</param>
    /// <param name="path">The file, for errors.</param>
    /// <exception cref="InvalidInputException">A token cannot be looked for exactly.</exception>
    public static AddedTokens Read(JsonElement list, string path)
    {
        Dictionary<string, AddedToken> tokens = new(StringComparer.Ordinal);
        foreach (JsonElement token in list.EnumerateArray())
        {
            string content = token.GetProperty("content").GetString() ?? throw new JsonException("an added token without a spelling");
            if (content.Length == 0) continue; // as the library does
            if (Flag(token, "single_word"))
            {
                throw new InvalidInputException(path, $"the added token '{content}' with single_word",
                    "added tokens that count wherever they stand",
                        "This tokenizer cannot be reproduced exactly here; use a Llama-3 style backbone.");
            }
            bool isSpecial = Flag(token, "special") || ChatTemplate.Tokens.Contains(content);
            tokens[content] = new AddedToken(content, token.GetProperty("id").GetInt32(), isSpecial, Flag(token, "normalized"),
                Flag(token, "lstrip"), Flag(token, "rstrip"));
        }
        return new AddedTokens(tokens);
    }

    /// <summary>True where a text spells a control token.</summary>
    public bool SpellsSpecial(string text) => _special?.IsMatch(text) == true;

    /// <summary>A text's parts, in order; none is empty.</summary>
    /// <param name="text">The text.</param>
    /// <param name="withSpecial">False leaves the spelling of a control token what it is: text.</param>
    public IEnumerable<TextPart> Split(string text, bool withSpecial)
    {
        foreach (TextPart part in Split(text, _first, withSpecial))
        {
            if (part.Token is not null) yield return part;
            else foreach (TextPart inner in Split(part.Text, _second, withSpecial)) yield return inner;
        }
    }

    private IEnumerable<TextPart> Split(string text, Regex? tokens, bool withSpecial)
    {
        int begin = 0;
        foreach (Match match in tokens?.Matches(text) ?? Enumerable.Empty<Match>())
        {
            AddedToken token = _tokens[match.Value];
            if (token.IsSpecial && !withSpecial) continue;
            string before = text[begin..match.Index];
            if (token.StripsLeft) before = before.TrimEnd();
            if (before.Length > 0) yield return new TextPart(null, before);
            yield return new TextPart(token.Id, token.Content);
            begin = match.Index + match.Length;
            if (token.StripsRight) begin += text.Length - begin - text.AsSpan(begin).TrimStart().Length;
        }
        if (begin < text.Length) yield return new TextPart(null, text[begin..]);
    }

    private static bool Flag(JsonElement token, string name) => token.TryGetProperty(name, out JsonElement value) && value.GetBoolean();

    /// <summary>Null where there is none. Longer spellings first: an alternation takes the first that fits.</summary>
    private static Regex? Any(IEnumerable<AddedToken> tokens)
    {
        string[] longestFirst =
            [.. tokens.Select(t => t.Content).OrderByDescending(c => c.Length).ThenBy(c => c, StringComparer.Ordinal).Select(Regex.Escape)];
        return longestFirst.Length == 0
            ? null
            : new Regex(string.Join('|', longestFirst), RegexOptions.CultureInvariant | RegexOptions.Compiled);
    }
}
