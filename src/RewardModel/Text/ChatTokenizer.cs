using System.Text;

namespace ArmoFlow.RewardModel.Text;

/// <summary>A conversation as token ids, with the position of f(x): the end-of-turn token that closes the prompt.</summary>
public sealed record EncodedConversation(string Id, string PromptId, int[] Tokens, int PromptPosition);

/// <summary>Conversations as token ids, by the chat template and a tokenizer.json.</summary>
public sealed class ChatTokenizer
{
    private readonly BpeTokenizer _tokens;
    private readonly string _path;

    /// <summary>
    /// False, unless asked for otherwise: a conversation's text that spells a control token, such as &lt;|eot_id|&gt;, is text, and
    /// cannot forge a turn. True for what Hugging Face's tokenizers do.
    /// </summary>
    public bool AllowsSpecials { get; init; }

    private ChatTokenizer(BpeTokenizer tokens, string path)
    {
        _tokens = tokens;
        _path = path;
    }

    /// <summary>Opens a tokenizer.json.</summary>
    /// <param name="path">The file.</param>
    /// <param name="allowsSpecials">See <see cref="AllowsSpecials"/>.</param>
    /// <exception cref="InvalidInputException">The file is missing or of a kind that we cannot tokenize exactly.</exception>
    public static ChatTokenizer Load(string path, bool allowsSpecials = false) =>
        new(BpeTokenizer.Load(path, ChatTemplate.Tokens), path) { AllowsSpecials = allowsSpecials };

    /// <summary>A text's ids, with what spells a control token as that token.</summary>
    /// <exception cref="InvalidInputException">The file's split pattern takes too long on the text.</exception>
    public int[] Encode(string text, CancellationToken cancel = default) => [.. _tokens.Encode(text, cancel)];

    /// <summary>Encodes a templated conversation. The two parts meet at a control token, which no merge crosses.</summary>
    public EncodedConversation Encode(Conversation conversation, CancellationToken cancel = default)
    {
        IReadOnlyList<int> prompt = _tokens.Encode(Rendered(conversation.Prompt, first: true), cancel);
        IReadOnlyList<int> response = _tokens.Encode(Rendered([conversation.Response], first: false), cancel);
        return new EncodedConversation(conversation.Id, conversation.PromptId, [.. prompt, .. response], prompt.Count - 1);
    }

    private TextRun[] Rendered(IEnumerable<Message> turns, bool first) =>
        [.. ChatTemplate.Runs(turns, first).Select(run => AllowsSpecials ? run with { IsTemplates = true } : run)];

    /// <summary>True where a content spells a control token of this tokenizer.</summary>
    public bool SpellsSpecial(Conversation conversation) => conversation.Messages.Any(m => _tokens.SpellsSpecial(m.Content));

    /// <summary>
    /// The same for a conversation within a limit of tokens; null for a longer one, which is not encoded where its length alone
    /// tells.
    /// </summary>
    public EncodedConversation? EncodeWithin(Conversation conversation, int maxTokens, CancellationToken cancel = default)
    {
        if (FewestTokens(conversation) > maxTokens) return null;
        EncodedConversation encoded = Encode(conversation, cancel);
        return encoded.Tokens.Length <= maxTokens ? encoded : null;
    }

    /// <summary>Tokens that a conversation has at least.</summary>
    public long FewestTokens(Conversation conversation) =>
        _tokens.FewestTokens(conversation.Messages.Sum(m => (long)Encoding.UTF8.GetByteCount(m.Content)));

    /// <summary>
    /// Refuses a tokenizer that lacks a token of the chat template, or whose template would swallow what stands around one.
    /// </summary>
    public ChatTokenizer RequireTemplateTokens()
    {
        foreach (string token in ChatTemplate.Tokens)
        {
            if (_tokens.Added(token) is not { } found)
            {
                throw new InvalidInputException(_path, $"no added token '{token}'", "the tokens of Llama-3's chat template",
                    "Use the tokenizer of a Llama-3 chat model.");
            }
            if (found.StripsLeft || found.StripsRight)
            {
                throw TokenizerFile.Unsupported(_path, $"the token '{token}' with {(found.StripsLeft ? "lstrip" : "rstrip")}",
                    "template tokens that leave the text around them");
            }
        }
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
