using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using ArmoFlow.RewardModel.Text.Jinja;

namespace ArmoFlow.RewardModel.Text.Templates;

/// <summary>A checkpoint's own chat template, rendered as transformers does: with its own tokens, without tools.</summary>
internal sealed class CheckpointTemplate : ChatTemplate
{
    private static readonly Message[] Shown = [new("user", "{prompt}"), new("assistant", "{response}")];
    private static readonly Message[] ShownWithSystem = [new("system", "{system}"), .. Shown];

    private readonly JinjaTemplate _template;
    private readonly TemplateFile _file;
    private readonly DateOnly _date;
    private readonly bool _writesDate;
    private readonly Lazy<TurnReader> _reader;

    private CheckpointTemplate(JinjaTemplate template, TemplateFile file, DateOnly date)
    {
        _template = template;
        _file = file;
        _date = date;
        string shown = RenderShown();
        _writesDate = TemplateProbes.Conversations.Any(probe => TryRender(probe, date) != TryRender(probe, date.AddDays(400)));
        _reader = new(() => new TurnReader(this, file.Tokens.Values.OfType<string>()));
        Name = $"chat-template {Digest(file)[..16]}" + (_writesDate ? $" of {Iso(date)}" : "");
        Description = $"its own chat template, which writes {JsonSerializer.Serialize(shown, Plain)}"
            + (TryRender(ShownWithSystem, date) is not null ? "" : " and refuses system turns")
            + (_writesDate ? $", dated {Iso(date)}" : "");
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    public override string Description { get; }

    /// <inheritdoc/>
    public override bool KeepsBlanks => true; // some of them do

    /// <summary>Reads a template and tries it.</summary>
    /// <exception cref="InvalidInputException">It cannot be read, fails, or leaves a response out.</exception>
    public static CheckpointTemplate Read(TemplateFile file, DateOnly date)
    {
        try { return new CheckpointTemplate(JinjaTemplate.Parse(file.Text), file, date); }
        catch (JinjaException e)
        {
            throw new InvalidInputException(file.Place, $"a chat template with {e.Message}",
                "one of the part of Jinja that chat templates use, which writes a prompt and a response",
                "Keep the template that the model was trained with as chat_template.jinja, written without it.");
        }
    }

    /// <summary>True where all conversations of many kinds become the same text; one that is refused says nothing.</summary>
    public bool RendersAs(ChatTemplate other)
    {
        int rendered = 0;
        foreach (Message[] probe in TemplateProbes.Conversations)
        {
            try
            {
                if (!Render(probe).SequenceEqual(Merged(other.Render(probe)))) return false;
                rendered++;
            }
            catch (JinjaException) { }
        }
        return rendered > 0;
    }

    /// <inheritdoc/>
    internal override IReadOnlyList<TextRun> Render(IReadOnlyList<Message> turns) => Merged(Render(turns, _date, false).Runs());

    /// <summary>The same, with what opens an answer.</summary>
    internal IReadOnlyList<TextRun> RenderOpen(IReadOnlyList<Message> turns) => Merged(Render(turns, _date, true).Runs());

    /// <inheritdoc/>
    /// <remarks>A token that the folder names and the tokenizer lacks would be written as letters.</remarks>
    internal override void RequireTokens(BpeTokenizer tokens, string path)
    {
        string written = string.Concat(Render(Shown).Where(run => run.IsTemplates).Select(run => run.Text));
        foreach ((string name, string? token) in _file.Tokens)
        {
            bool isWritten = token is { Length: > 0 } && _file.Names(name) && written.Contains(token, StringComparison.Ordinal);
            if (!isWritten || tokens.Added(token!) is not null) continue;
            throw new InvalidInputException(path, $"no added token '{token}'", $"one, as tokenizer_config.json names it its {name}",
                "The two files do not belong together; fetch the checkpoint again.");
        }
    }

    /// <inheritdoc/>
    public override IReadOnlyList<Message> Parse(string text, string place) => _reader.Value.Read(text, place);

    private static List<TextRun> Merged(IEnumerable<TextRun> runs)
    {
        List<TextRun> merged = [];
        foreach (TextRun run in runs.Where(run => run.Text.Length > 0))
        {
            if (merged.Count > 0 && merged[^1].IsTemplates == run.IsTemplates) merged[^1] = run with { Text = merged[^1].Text + run.Text };
            else merged.Add(run);
        }
        return merged;
    }

    /// <summary>Null where it refuses the turns.</summary>
    private string? TryRender(Message[] turns, DateOnly date)
    {
        try { return Render(turns, date, false).Value; }
        catch (JinjaException) { return null; }
    }

    private string RenderShown()
    {
        string text = Render(Shown, _date, false).Value;
        bool leavesResponseOut = text == Render([Shown[0], Shown[1] with { Content = "another" }], _date, false).Value;
        return leavesResponseOut ? throw new JinjaException("no place for the response") : text;
    }

    private MarkedText Render(IReadOnlyList<Message> turns, DateOnly date, bool opensAnswer)
    {
        Dictionary<string, object?> names = new()
        {
            ["messages"] = (IReadOnlyList<object?>)[.. turns.Select(Turn)],
            ["tools"] = null,
            ["documents"] = null,
            ["add_generation_prompt"] = opensAnswer,
            ["date_string"] = MarkedText.Template(JinjaDate.Format(date, "%d %b %Y")),
            ["strftime_now"] = (JinjaFunction)((arguments, _) => MarkedText.Template(JinjaDate.Format(date,
                JinjaValues.RequireText(arguments.Count > 0 ? arguments[0] : null, "strftime_now").Value))),
        };
        foreach ((string name, string? token) in _file.Tokens)
        {
            if (token is not null) names[name] = MarkedText.Template(token);
        }
        return _template.Render(names);
    }

    /// <summary>Of the template and of the tokens that it writes.</summary>
    private static string Digest(TemplateFile file)
    {
        IEnumerable<string> tokens = file.Tokens.Where(token => file.Names(token.Key))
            .OrderBy(token => token.Key, StringComparer.Ordinal)
            .Select(token => $"{token.Key}={token.Value}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', [.. tokens, file.Text]))));
    }

    private static Dictionary<string, object?> Turn(Message message) => new()
    {
        ["role"] = MarkedText.Template(message.Role),
        ["content"] = MarkedText.Message(message.Content),
    };

    private static string Iso(DateOnly date) => date.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture);

    private static readonly JsonSerializerOptions Plain = new()
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping
    };
}
