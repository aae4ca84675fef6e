using System.Text;

namespace ArmoFlow;

/// <summary>Reads a text line by line, as <see cref="StreamReader.ReadLine"/> does, but never more than a bounded line.</summary>
internal sealed class BoundedLines(StreamReader reader)
{
    /// <summary>Characters of the longest line: some hundred times the longest conversation that a backbone can take.</summary>
    public const int LongestLine = 64 << 20;

    private readonly char[] _buffer = new char[1 << 15];
    private readonly StringBuilder _line = new();
    private int _at, _end;
    private bool _afterReturn;

    /// <summary>The next line without its end; null after the last.</summary>
    /// <exception cref="InvalidDataException">The line is longer than any row can be.</exception>
    public async ValueTask<string?> Next(CancellationToken cancel)
    {
        _line.Clear();
        bool isAny = false;
        while (await Fill(cancel))
        {
            SkipRestOfLineEnd();
            if (_at == _end) continue;
            isAny = true;
            int end = _buffer.AsSpan(_at, _end - _at).IndexOfAny('\n', '\r');
            Append(end < 0 ? _end - _at : end);
            if (end < 0) continue;
            _afterReturn = _buffer[_at] == '\r';
            _at++;
            return _line.ToString();
        }
        return isAny ? _line.ToString() : null;
    }

    private async ValueTask<bool> Fill(CancellationToken cancel)
    {
        if (_at < _end) return true;
        _end = await reader.ReadAsync(_buffer, cancel);
        _at = 0;
        return _end > 0;
    }

    /// <summary>A line may end with two characters, and these with two buffers.</summary>
    private void SkipRestOfLineEnd()
    {
        if (_afterReturn && _buffer[_at] == '\n') _at++;
        _afterReturn = false;
    }

    private void Append(int characters)
    {
        if (_line.Length + characters > LongestLine) throw new InvalidDataException($"a line of more than {LongestLine:N0} characters");
        _line.Append(_buffer, _at, characters);
        _at += characters;
    }
}
