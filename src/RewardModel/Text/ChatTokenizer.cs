using System.Text;
using ArmoFlow.RewardModel.Text.Jinja;
using ArmoFlow.RewardModel.Text.Templates;

namespace ArmoFlow.RewardModel.Text;

/// <summary>Conversations as token ids, by a chat template and a tokenizer.json.</summary>
public sealed class ChatTokenizer
{
    private readonly BpeTokenizer _tokens;
    private readonly string _path;
    private readonly EncodingOptions _options;
    private readonly int? _padding;

    /// <summary>How a conversation is written.</summary>
    public ChatTemplate Template { get; }

    /// <summary>The tokenizer's kind, in a few words.</summary>
    public string Kind => _tokens.Kind;

    /// <summary>Which conversations have the same features.</summary>
    public ConversationKeys Keys { get; }

    private ChatTokenizer(
        BpeTokenizer tokens, string path, ChatTemplate template, EncodingOptions options, int? padding, bool sharesPrompts)
    {
        _tokens = tokens;
        _path = path;
        _options = options;
        Template = template;
        _padding = padding;
        Keys = new ConversationKeys(template.KeepsBlanks, sharesPrompts);
    }

    /// <summary>Opens a tokenizer.json, for the Llama-3 template.</summary>
    /// <param name="path">The file.</param>
    /// <param name="allowsSpecials">See <see cref="EncodingOptions.AllowsSpecials"/>.</param>
    /// <exception cref="InvalidInputException">The file is missing or of a kind that we cannot tokenize exactly.</exception>
    public static ChatTokenizer Load(string path, bool allowsSpecials = false) =>
        Load(path, new Llama3Template("Llama-3 template"), new EncodingOptions { AllowsSpecials = allowsSpecials });

    /// <summary>Opens a tokenizer.json, for a chat template.</summary>
    /// <param name="path">The file.</param>
    /// <param name="template">How a conversation is written.</param>
    /// <param name="options">What was asked for.</param>
    /// <param name="padding">The configuration's padding token; null for none.</param>
    /// <param name="sharesPrompts">False where f(x) depends on the response that follows.</param>
    /// <exception cref="InvalidInputException">The file is missing or of a kind that we cannot tokenize exactly.</exception>
    public static ChatTokenizer Load(
        string path, ChatTemplate template, EncodingOptions options, int? padding = null, bool sharesPrompts = true) =>
        new(BpeTokenizer.Load(path, template.Controls), path, template, options, padding, sharesPrompts);

    /// <summary>A text's ids, with what spells a control token as that token.</summary>
    /// <exception cref="InvalidInputException">The file's split pattern takes too long on the text.</exception>
    public int[] Encode(string text, CancellationToken cancel = default) => [.. _tokens.Encode(text, cancel)];

    /// <summary>Encodes a conversation, however long it is.</summary>
    /// <exception cref="InvalidInputException">The template refuses it.</exception>
    public EncodedConversation Encode(Conversation conversation, CancellationToken cancel = default) =>
        EncodeWithin(conversation, int.MaxValue, cancel) switch
        {
            EncodingResult.Done done => done.Conversation,
            EncodingResult.Refused refused => throw Refusal("the conversation", refused.Why),
            _ => throw new InvalidOperationException("no conversation has as many tokens"),
        };

    /// <summary>What is said of a conversation that the template refuses.</summary>
    public static InvalidInputException Refusal(string place, string why) =>
        new(place, $"a conversation that the backbone's chat template refuses: {why}", "turns that the template has a form for",
            "Change the turns, or leave the row out.");

    /// <summary>Encodes a conversation if it has at most so many tokens.</summary>
    /// <exception cref="InvalidInputException">The file's split pattern takes too long on the text.</exception>
    public EncodingResult EncodeWithin(Conversation conversation, int maxTokens, CancellationToken cancel = default)
    {
        try
        {
            IReadOnlyList<TextRun> text = Template.Render(conversation.Messages);
            long fewest = FewestTokens(text);
            if (fewest > maxTokens) return new EncodingResult.TooLong($"at least {fewest}");
            int[] tokens = Tokens(text, cancel);
            if (tokens.Length > maxTokens) return new EncodingResult.TooLong($"{tokens.Length}");
            int position = PromptEnd(conversation, text, tokens, cancel);
            EncodedConversation encoded = new(Keys.Of(conversation), Keys.OfPrompt(conversation), tokens, position);
            return new EncodingResult.Done(encoded with { LastPosition = LastOf(tokens, position) });
        }
        catch (JinjaException e) { return new EncodingResult.Refused(e.Message); }
    }

    private int[] Tokens(IReadOnlyList<TextRun> text, CancellationToken cancel) =>
        [.. _tokens.Encode(_options.AllowsSpecials ? [.. text.Select(run => run with { IsTemplates = true })] : text, cancel)];

    /// <summary>
    /// Where f(x) is read: the last token that the prompt written alone and the whole conversation have in common; the control token
    /// that closes the turn where only white space stands after one.
    /// </summary>
    private int PromptEnd(Conversation conversation, IReadOnlyList<TextRun> text, int[] tokens, CancellationToken cancel)
    {
        if (PromptAlone(conversation, text) is not { } prompt) return ControlAfterPrompt(conversation, tokens, cancel);
        int last = Common(Tokens(prompt, cancel), tokens);
        int before = last;
        while (before > 0 && _tokens.IsBlank(tokens[before])) before--;
        return _tokens.IsControl(tokens[before]) ? before : last;
    }

    /// <summary>
    /// The prompt written alone; null where it is written otherwise than in the conversation, as by a template that puts the system
    /// turn into what it takes for the last turn, or that refuses it.
    /// </summary>
    private IReadOnlyList<TextRun>? PromptAlone(Conversation conversation, IReadOnlyList<TextRun> text)
    {
        IReadOnlyList<TextRun> prompt;
        try { prompt = Template.Render([.. conversation.Prompt]); }
        catch (JinjaException) { return null; }
        string alone = string.Concat(prompt.Select(run => run.Text)), whole = string.Concat(text.Select(run => run.Text));
        if (whole.StartsWith(alone, StringComparison.Ordinal)) return prompt;
        int closed = UpToPrompt(Template.Render(WithOtherResponse(conversation))).Sum(run => run.Text.Length);
        return alone.AsSpan().CommonPrefixLength(whole) >= closed ? prompt : null;
    }

    /// <summary>The first control token after the prompt's last message; the last token before the response where there is none.</summary>
    private int ControlAfterPrompt(Conversation conversation, int[] tokens, CancellationToken cancel)
    {
        IReadOnlyList<TextRun> other = Template.Render(WithOtherResponse(conversation));
        int last = Common(Tokens(other, cancel), tokens), controls = Tokens(UpToPrompt(other), cancel).Count(_tokens.IsControl);
        for (int i = 0; i <= last; i++)
        {
            if (_tokens.IsControl(tokens[i]) && controls-- == 0) return i;
        }
        return last;
    }

    /// <summary>A text up to the end of the last message before its response.</summary>
    private static TextRun[] UpToPrompt(IReadOnlyList<TextRun> text)
    {
        int[] messages = [.. Enumerable.Range(0, text.Count).Where(i => !text[i].IsTemplates)];
        return messages.Length < 2 ? [] : [.. text.Take(messages[^2] + 1)];
    }

    /// <summary>The same prompt with a response that begins with another letter.</summary>
    private static IReadOnlyList<Message> WithOtherResponse(Conversation conversation)
    {
        string other = PythonText.Strip(conversation.Response.Content).StartsWith('A') ? "B" : "A";
        return [.. conversation.Prompt, conversation.Response with { Content = other }];
    }

    /// <summary>The last token that both have, which is not the conversation's last.</summary>
    private static int Common(int[] other, int[] tokens)
    {
        int last = other.AsSpan().CommonPrefixLength(tokens) - 1;
        if (last < 0) throw new JinjaException("a prompt that is written otherwise for each response");
        return last < tokens.Length - 1 ? last : throw new JinjaException("a response that leaves no trace in the text");
    }

    private int LastOf(int[] tokens, int prompt)
    {
        int last = tokens.Length - 1;
        while (_options.PoolsAsClassifier && last > prompt + 1 && tokens[last] == _padding) last--;
        return last;
    }

    /// <summary>True where a content spells a control token of this tokenizer.</summary>
    public bool SpellsSpecial(Conversation conversation) => conversation.Messages.Any(m => _tokens.SpellsSpecial(m.Content));

    /// <summary>Tokens that a text has at least; blanks at the ends of what messages say may go into the tokens around them.</summary>
    private long FewestTokens(IReadOnlyList<TextRun> text) =>
        _tokens.FewestTokens(text.Where(run => !run.IsTemplates).Sum(run => (long)Encoding.UTF8.GetByteCount(PythonText.Strip(run.Text))));

    /// <summary>
    /// Refuses a tokenizer that lacks a token of the chat template, or whose template would swallow what stands around one.
    /// </summary>
    public ChatTokenizer RequireTemplateTokens()
    {
        Template.RequireTokens(_tokens, _path);
        return this;
    }

    /// <summary>Refuses a tokenizer whose ids go beyond the backbone's embedding.</summary>
    /// <exception cref="InvalidInputException">They do.</exception>
    public ChatTokenizer RequireWithin(int vocabularySize)
    {
        _tokens.RequireWithin(vocabularySize);
        return this;
    }
}
