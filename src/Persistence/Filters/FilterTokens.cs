namespace ArmoFlow.Persistence.Filters;

/// <summary>A filter's text, word by word.</summary>
internal sealed class FilterTokens
{
    private static readonly string[] Operators = ["!=", "<=", ">=", "=", "<", ">", "(", ")", ","];
    // n: a name or word, q: a quoted name, s: text, d: a number, o: anything else
    private readonly List<(char Kind, string Text, int At)> _tokens = [];
    private int _next;

    public FilterTokens(string text)
    {
        for (int at = 0; at < text.Length;)
        {
            char c = text[at];
            if (char.IsWhiteSpace(c)) at++;
            else if (c is '\'' or '"') at = Quoted(text, at, c);
            else if (char.IsLetter(c) || c == '_') at = Run(text, at, 'n', x => char.IsLetterOrDigit(x) || x is '_' or '.' or '-');
            else if (char.IsDigit(c) || c == '-') at = Run(text, at, 'd', x => char.IsLetterOrDigit(x) || x is '.' or '-' or '+');
            else if (Operators.FirstOrDefault(o => string.CompareOrdinal(text, at, o, 0, o.Length) == 0) is { } found)
            {
                _tokens.Add(('o', found, at));
                at += found.Length;
            }
            else throw new FilterException($"filter: '{c}' at character {at + 1} has no meaning here.");
        }
    }

    /// <summary>How many values were asked for.</summary>
    public int Values { get; private set; }

    /// <summary>What comes next; null at the end.</summary>
    public string? Next => _next < _tokens.Count ? _tokens[_next].Text : null;

    public bool TakeWord(string word) => TakeIf('n', t => t.Equals(word, StringComparison.OrdinalIgnoreCase)) is not null;

    public bool Take(string sign) => TakeIf('o', t => t == sign) is not null;

    public string? TakeOperator() => TakeIf('o', t => t is not ("(" or ")" or ","));

    public string? TakeName() => TakeIf('q', _ => true) ?? TakeIf('n', _ => true);

    public string? TakeValue()
    {
        Values++;
        return TakeIf('s', _ => true) ?? TakeIf('d', _ => true);
    }

    public FilterException Unexpected(string expected) => _next < _tokens.Count
        ? new FilterException($"filter: '{_tokens[_next].Text}' at character {_tokens[_next].At + 1}; expected {expected}.")
            : new FilterException($"filter: it ends too early; expected {expected}.");

    private string? TakeIf(char kind, Func<string, bool> fits) =>
        _next < _tokens.Count && _tokens[_next].Kind == kind && fits(_tokens[_next].Text) ? _tokens[_next++].Text : null;

    /// <summary>A quote within is written twice.</summary>
    private int Quoted(string text, int start, char quote)
    {
        System.Text.StringBuilder inner = new();
        for (int at = start + 1; at < text.Length; at++)
        {
            if (text[at] != quote) inner.Append(text[at]);
            else if (at + 1 < text.Length && text[at + 1] == quote) inner.Append(text[at++]);
            else
            {
                _tokens.Add((quote == '"' ? 'q' : 's', inner.ToString(), start));
                return at + 1;
            }
        }
        throw new FilterException($"filter: the quote at character {start + 1} is not closed.");
    }

    private int Run(string text, int start, char kind, Func<char, bool> belongs)
    {
        int end = start + 1;
        while (end < text.Length && belongs(text[end])) end++;
        _tokens.Add((kind, text[start..end], start));
        return end;
    }
}
