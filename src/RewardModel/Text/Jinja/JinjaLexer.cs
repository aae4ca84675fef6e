using System.Globalization;
using System.Text;

namespace ArmoFlow.RewardModel.Text.Jinja;

/// <summary>What a token of a template is.</summary>
internal enum TokenKind
{
    /// <summary>Text outside of tags.</summary>
    Text,

    /// <summary>The beginning of an expression to print, {{.</summary>
    PrintBegin,

    /// <summary>The beginning of a statement, {%.</summary>
    BlockBegin,

    /// <summary>The end of either.</summary>
    End,

    /// <summary>A name or keyword.</summary>
    Name,

    /// <summary>A string, its escapes undone.</summary>
    String,

    /// <summary>A number.</summary>
    Number,

    /// <summary>An operator or bracket.</summary>
    Operator,
}

/// <summary>A token of a template.</summary>
internal readonly record struct Token(TokenKind Kind, string Text);

/// <summary>
/// Takes a template apart as Jinja does with the settings of transformers: a block's line end goes with it (trim_blocks), and so do the
/// blanks before a block that begins its line (lstrip_blocks).
/// </summary>
internal sealed class JinjaLexer
{
    private const int LongestTag = 1000; // tokens: what one holds is nested as deep, when it is read and when it is computed
    private static readonly string[] Operators =
        ["==", "!=", "<=", ">=", "//", "**", "{", "}", "[", "]", "(", ")", ",", ":", ".", "|", "~", "+", "-", "*", "/", "%", "<", ">", "="];

    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private int _at;

    private JinjaLexer(string source) => _source = source;

    /// <summary>The tokens of a template.</summary>
    /// <exception cref="JinjaException">A tag or string does not end.</exception>
    public static IReadOnlyList<Token> Read(string template)
    {
        string source = template.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        if (source.EndsWith('\n')) source = source[..^1]; // Jinja drops one line end at the end
        JinjaLexer lexer = new(source);
        while (lexer._at < source.Length) lexer.ReadText();
        return lexer._tokens;
    }

    /// <summary>Text up to the next tag, and that tag.</summary>
    private void ReadText()
    {
        int begin = NextTag();
        string text = _source[_at..begin];
        if (begin == _source.Length)
        {
            Emit(text);
            _at = begin;
            return;
        }
        char kind = _source[begin + 1];
        char sign = begin + 2 < _source.Length ? _source[begin + 2] : ' ';
        Emit(sign switch
        {
            '-' => text.TrimEnd(),
            '+' => text,
            _ => kind == '{' ? text : WithoutIndent(text),
        });
        _at = begin + (sign is '-' or '+' ? 3 : 2);
        if (kind == '#') SkipComment();
        else ReadTag(kind == '{' ? "}}" : "%}", kind == '{' ? TokenKind.PrintBegin : TokenKind.BlockBegin);
    }

    private int NextTag()
    {
        for (int i = _at; i + 1 < _source.Length; i++)
        {
            if (_source[i] == '{' && _source[i + 1] is '{' or '%' or '#') return i;
        }
        return _source.Length;
    }

    private void Emit(string text)
    {
        if (text.Length > 0) _tokens.Add(new Token(TokenKind.Text, text));
    }

    /// <summary>Without the blanks of its last line, if there is nothing else on it.</summary>
    private string WithoutIndent(string text)
    {
        string kept = text.TrimEnd(' ', '\t');
        bool beginsLine = kept.Length > 0 ? kept[^1] == '\n' : _at == 0 || _source[_at - 1] == '\n';
        return beginsLine ? kept : text;
    }

    private void SkipComment()
    {
        int end = _source.IndexOf("#}", _at, StringComparison.Ordinal);
        if (end < 0) throw new JinjaException("a comment without its end");
        bool strips = end > _at && _source[end - 1] == '-';
        _at = end + 2;
        EndBlock(strips);
    }

    private void EndBlock(bool strips)
    {
        if (strips) while (_at < _source.Length && char.IsWhiteSpace(_source[_at])) _at++;
        else if (_at < _source.Length && _source[_at] == '\n') _at++;
    }

    private void ReadTag(string end, TokenKind begin)
    {
        int first = _tokens.Count;
        _tokens.Add(new Token(begin, ""));
        while (true)
        {
            if (_tokens.Count - first > LongestTag) throw new JinjaException($"a tag of more than {LongestTag:N0} tokens");
            while (_at < _source.Length && char.IsWhiteSpace(_source[_at])) _at++;
            if (_at >= _source.Length) throw new JinjaException($"a tag without its end '{end}'");
            bool strips = Follows("-" + end);
            if (strips || Follows(end) && !IsInsideBraces(end))
            {
                _at += strips ? end.Length + 1 : end.Length;
                _tokens.Add(new Token(TokenKind.End, ""));
                if (strips || begin == TokenKind.BlockBegin) EndBlock(strips);
                return;
            }
            ReadToken();
        }
    }

    /// <summary>True where a dictionary's brace is open, so that two braces do not end an expression yet.</summary>
    private bool IsInsideBraces(string end)
    {
        if (end != "}}") return false;
        int open = 0;
        for (int i = _tokens.Count - 1; i >= 0 && _tokens[i].Kind != TokenKind.PrintBegin; i--)
        {
            if (_tokens[i].Kind != TokenKind.Operator) continue;
            if (_tokens[i].Text == "{") open++;
            else if (_tokens[i].Text == "}") open--;
        }
        return open > 0;
    }

    private bool Follows(string text) => string.CompareOrdinal(_source, _at, text, 0, text.Length) == 0;

    private void ReadToken()
    {
        char c = _source[_at];
        int begin = _at;
        if (c is '\'' or '"') _tokens.Add(new Token(TokenKind.String, ReadString(c)));
        else if (char.IsAsciiDigit(c))
        {
            while (_at < _source.Length && (char.IsAsciiDigit(_source[_at]) || _source[_at] == '.' && IsDigit(_at + 1))) _at++;
            _tokens.Add(new Token(TokenKind.Number, _source[begin.._at]));
        }
        else if (char.IsLetter(c) || c == '_')
        {
            while (_at < _source.Length && (char.IsLetterOrDigit(_source[_at]) || _source[_at] == '_')) _at++;
            _tokens.Add(new Token(TokenKind.Name, _source[begin.._at]));
        }
        else
        {
            string found = Operators.FirstOrDefault(Follows) ?? throw new JinjaException($"the character '{c}' in a tag");
            _at += found.Length;
            _tokens.Add(new Token(TokenKind.Operator, found));
        }
    }

    private bool IsDigit(int at) => at < _source.Length && char.IsAsciiDigit(_source[at]);

    private string ReadString(char quote)
    {
        StringBuilder text = new();
        for (_at++; _at < _source.Length && _source[_at] != quote; _at++)
        {
            if (_source[_at] != '\\' || _at + 1 >= _source.Length) text.Append(_source[_at]);
            else
            {
                _at++;
                Unescape(text);
            }
        }
        if (_at >= _source.Length) throw new JinjaException("a string without its end");
        _at++;
        return text.ToString();
    }

    /// <summary>An escape of Python's; one that it does not know stays as it is.</summary>
    private void Unescape(StringBuilder into)
    {
        char c = _source[_at];
        int digits = c switch { 'x' => 2, 'u' => 4, 'U' => 8, _ => 0 };
        if (digits > 0)
        {
            bool isNumber = _at + digits < _source.Length
                & int.TryParse(_source.AsSpan(_at + 1, Math.Min(digits, _source.Length - _at - 1)), NumberStyles.AllowHexSpecifier,
                    CultureInfo.InvariantCulture, out int value);
            if (!isNumber) throw new JinjaException($"the escape '\\{c}' without {digits} digits");
            _at += digits;
            into.Append(value > char.MaxValue ? char.ConvertFromUtf32(value) : ((char)value).ToString());
            return;
        }
        int known = "ntr\\'\"0abfv\n".IndexOf(c, StringComparison.Ordinal);
        if (known < 0) into.Append('\\').Append(c);
        else if (c != '\n') into.Append("\n\t\r\\'\"\0\a\b\f\v"[known]);
    }
}
