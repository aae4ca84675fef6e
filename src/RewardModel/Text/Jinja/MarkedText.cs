using System.Text;

namespace ArmoFlow.RewardModel.Text.Jinja;

/// <summary>
/// A text that knows which of its parts a message said: what a template makes of a message, cut or joined, stays the message's.
/// </summary>
internal sealed class MarkedText
{
    private const int Longest = 1 << 26; // characters: a template that doubles a text in a loop is given up
    private readonly (int From, int To)[] _messages;

    private MarkedText(string value, (int From, int To)[] messages)
    {
        Value = value;
        _messages = messages;
    }

    public static MarkedText Empty { get; } = Template("");

    public string Value { get; }

    public int Length => Value.Length;

    /// <summary>A text of the template's own.</summary>
    public static MarkedText Template(string value) => new(value, []);

    /// <summary>What a message says.</summary>
    public static MarkedText Message(string value) => new(value, value.Length == 0 ? [] : [(0, value.Length)]);

    /// <summary>One text after the other.</summary>
    public static MarkedText Concat(IEnumerable<MarkedText> parts)
    {
        StringBuilder value = new();
        List<(int From, int To)> messages = [];
        foreach (MarkedText part in parts)
        {
            foreach ((int from, int to) in part._messages) messages.Add((value.Length + from, value.Length + to));
            value.Append(part.Value);
            if (value.Length > Longest) throw new JinjaException($"a text of more than {Longest:N0} characters");
        }
        return new MarkedText(value.ToString(), [.. messages]);
    }

    /// <summary>A part of it.</summary>
    public MarkedText Slice(int from, int to)
    {
        (int From, int To)[] within = [.. _messages.Select(m => (From: Math.Max(m.From, from) - from, To: Math.Min(m.To, to) - from))
            .Where(m => m.From < m.To)];
        return new MarkedText(Value[from..to], within);
    }

    /// <summary>Another spelling of the same characters, one for one.</summary>
    public MarkedText With(Func<string, string> respell)
    {
        string value = respell(Value);
        return value.Length == Length ? new MarkedText(value, _messages)
            : new MarkedText(value, _messages.Length == 0 ? [] : [(0, value.Length)]);
    }

    /// <summary>It without characters at its ends.</summary>
    public MarkedText Strip(Func<char, bool> isStripped, bool left, bool right)
    {
        int from = 0, to = Length;
        while (left && from < to && isStripped(Value[from])) from++;
        while (right && to > from && isStripped(Value[to - 1])) to--;
        return Slice(from, to);
    }

    /// <summary>Its parts between occurrences of a text.</summary>
    public IEnumerable<MarkedText> Split(string by)
    {
        int from = 0;
        for (int at = Value.IndexOf(by, StringComparison.Ordinal); at >= 0; at = Value.IndexOf(by, from, StringComparison.Ordinal))
        {
            yield return Slice(from, at);
            from = at + by.Length;
        }
        yield return Slice(from, Length);
    }

    /// <summary>Its stretches, in order.</summary>
    public IEnumerable<TextRun> Runs()
    {
        int at = 0;
        foreach ((int from, int to) in _messages)
        {
            if (from > at) yield return new TextRun(Value[at..from], true);
            yield return new TextRun(Value[from..to], false);
            at = to;
        }
        if (at < Length) yield return new TextRun(Value[at..], true);
    }

    public override string ToString() => Value;
}
