using System.Text;

namespace ArmoFlow;

/// <summary>
/// Cuts a text into its JSON values by brackets and quotation marks alone, never more than a bounded value in memory; whether each is
/// JSON, its parser says.
/// </summary>
internal sealed class BoundedValues(StreamReader reader)
{
    private readonly char[] _buffer = new char[1 << 15];
    private readonly StringBuilder _value = new();
    private int _at, _end;

    /// <summary>Line of the next character, from 1.</summary>
    public long Line { get; private set; } = 1;

    /// <summary>The next character that is no white space, not consumed; null at the end.</summary>
    public async ValueTask<char?> Peek(CancellationToken cancel)
    {
        while (_at < _end || await Fill(cancel))
        {
            if (!IsSpace(_buffer[_at])) return _buffer[_at];
            Advance();
        }
        return null;
    }

    /// <summary>Consumes the character that <see cref="Peek"/> told of.</summary>
    public void Skip() => Advance();

    /// <summary>The text of the value that begins at the next character; whether it is whole is not known.</summary>
    /// <exception cref="InvalidDataException">The value is longer than any row can be.</exception>
    public async ValueTask<string> Value(CancellationToken cancel)
    {
        _value.Clear();
        int depth = 0;
        bool isText = false, isEscaped = false;
        while (_at < _end || await Fill(cancel)) // a call for each buffer, not for each character
        {
            char next = _buffer[_at];
            bool endsBefore = isText ? next == '\n' : depth == 0 && (next is ',' or ']' or '}' || IsSpace(next));
            if (endsBefore) break; // no text of JSON holds a line end
            Append(next);
            if (isText)
            {
                isText = next != '"' || isEscaped;
                isEscaped = next == '\\' && !isEscaped;
                if (!isText && depth == 0) break;
                continue;
            }
            if (next == '"') isText = true;
            if (next is '{' or '[') depth++;
            if (next is '}' or ']' && --depth == 0) break;
        }
        return _value.ToString();
    }

    private void Append(char next)
    {
        if (_value.Length == BoundedLines.LongestLine)
            throw new InvalidDataException($"a value of more than {BoundedLines.LongestLine:N0} characters");
        _value.Append(next);
        Advance();
    }

    private void Advance()
    {
        if (_buffer[_at++] == '\n') Line++;
    }

    private async ValueTask<bool> Fill(CancellationToken cancel)
    {
        _end = await reader.ReadAsync(_buffer, cancel);
        _at = 0;
        return _end > 0;
    }

    private static bool IsSpace(char c) => c is ' ' or '\t' or '\n' or '\r';
}
