using ArmoFlow.RewardModel.Text.Jinja;

namespace ArmoFlow.RewardModel.Text.Templates;

/// <summary>
/// Takes a rendered text apart into turns: by what the template writes before, between and after them, learnt from conversations that
/// are made up. What it finds is rendered again and must be the same text.
/// </summary>
internal sealed class TurnReader
{
    private const string Remedy = "Apply the model's chat template to prompt and response, or send messages.";
    private static readonly Message User = new("user", "U"), Assistant = new("assistant", "A"), System = new("system", "S");

    private readonly CheckpointTemplate _template;
    private readonly string[] _padding; // what may stand before and after a text
    private readonly string _begin, _toUser, _end;
    private readonly string? _beginSystem, _systemToUser;
    private readonly string[] _toAssistant; // before the last answer, and before one that is about to be given

    /// <param name="template">The template.</param>
    /// <param name="tokens">Tokens that trainers pad with.</param>
    public TurnReader(CheckpointTemplate template, IEnumerable<string> tokens)
    {
        _template = template;
        string[] one = Written(template.Render([User, Assistant])), two = Written(template.Render([User, Assistant, User, Assistant]));
        string[] open = Written(template.RenderOpen([User]));
        _begin = one[0];
        _end = one[^1];
        _toUser = two[2];
        _toAssistant = [.. new[] { one[1], two[1], open[^1] }.Where(text => text.Length > 0).Distinct()];
        try
        {
            string[] system = Written(template.Render([System, User, Assistant]));
            bool isTurn = system.Length == 4 && system[0] != _begin; // and not put before the user's own words
            _beginSystem = isTurn ? system[0] : null;
            _systemToUser = isTurn ? system[1] : null;
        }
        catch (JinjaException) { } // it refuses system turns
        tokens = [.. tokens.Where(token => token.StartsWith('<') || token.StartsWith('['))]; // a '!' that pads is a response's, too
        string[] ends = [.. tokens.Select(token => _end.Replace(token, "", StringComparison.Ordinal).Trim()), _end.Trim()];
        _padding = [.. ends.Concat(tokens).Where(text => text.Length > 0).Distinct().OrderByDescending(text => text.Length)];
    }

    /// <summary>What the template writes before the first message, between messages, and after the last.</summary>
    private static string[] Written(IReadOnlyList<TextRun> runs)
    {
        List<string> written = [""];
        foreach (TextRun run in runs)
        {
            if (run.IsTemplates) written[^1] += run.Text;
            else written.Add("");
        }
        return [.. written];
    }

    /// <exception cref="InvalidInputException">It is not a text of the template.</exception>
    public IReadOnlyList<Message> Read(string text, string place)
    {
        string bare = Strip(text);
        List<Message>? most = null; // of several readings the one with the most turns: none of them hides in another
        foreach (string toAssistant in _toAssistant)
        {
            if (Turns(bare, toAssistant, place) is not { } turns || turns.Count <= (most?.Count ?? 0)) continue;
            if (Strip(Rendered(turns)) == bare) most = turns;
        }
        return most ?? throw new InvalidInputException(place, $"'{text[..Math.Min(40, text.Length)]}'",
            $"a text of the backbone's chat template, which begins with '{_begin}'", Remedy);
    }

    private string Rendered(IReadOnlyList<Message> turns)
    {
        try { return string.Concat(_template.Render(turns).Select(run => run.Text)); }
        catch (JinjaException) { return ""; }
    }

    /// <summary>Null where the text has another form.</summary>
    private List<Message>? Turns(string text, string toAssistant, string place)
    {
        List<Message> turns = [];
        int at;
        if (Begins(_begin) is { } user) at = user;
        else if (_beginSystem is not null && Begins(_beginSystem) is { } system)
        {
            int end = text.IndexOf(_systemToUser!, system, StringComparison.Ordinal);
            if (end < 0) return null;
            turns.Add(System with { Content = text[system..end] });
            at = end + _systemToUser!.Length;
        }
        else return null;
        for (bool isUser = true; ; isUser = !isUser)
        {
            if (turns.Count == Llama3Template.MostTurns)
                throw new InvalidInputException(place, $"more than {turns.Count:N0} turns", "fewer", "Send the last turns alone.");
            string next = isUser ? toAssistant : _toUser;
            int end = text.IndexOf(next, at, StringComparison.Ordinal);
            turns.Add((isUser ? User : Assistant) with { Content = end < 0 ? text[at..] : text[at..end] });
            if (end < 0) return turns;
            at = end + next.Length;
        }

        // Where the first message begins; padding that was taken off may have been part of what stands before it.
        int? Begins(string with)
        {
            string bare = Strip(with, atEnd: false);
            return text.StartsWith(bare, StringComparison.Ordinal) ? bare.Length : null;
        }
    }

    /// <summary>A text without padding around it and without what ends it; blanks stay where nothing stood after them.</summary>
    private string Strip(string text, bool atEnd = true)
    {
        ReadOnlySpan<char> rest = text.AsSpan().TrimStart();
        while (FindPadding(rest, atEnd: false) is { } found) rest = rest[found.Length..].TrimStart();
        if (!atEnd) return rest.ToString();
        while (FindPadding(rest.TrimEnd(), atEnd: true) is { } found) rest = rest.TrimEnd()[..^found.Length];
        return rest.ToString();
    }

    private string? FindPadding(ReadOnlySpan<char> text, bool atEnd)
    {
        foreach (string padding in _padding)
        {
            bool isThere =
                atEnd ? text.EndsWith(padding, StringComparison.Ordinal) : text.StartsWith(padding, StringComparison.Ordinal);
            if (isThere) return padding;
        }
        return null;
    }
}
