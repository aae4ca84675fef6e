namespace ArmoFlow.RewardModel.Text;

/// <summary>A conversation as token ids.</summary>
/// <param name="Id">Of the text as the template sees it: equal ids, equal features.</param>
/// <param name="PromptId">Of all that f(x) depends on: equal ids, equal f(x).</param>
/// <param name="Tokens">The ids.</param>
/// <param name="PromptPosition">Where f(x) is read: the token that closes the prompt.</param>
public sealed record EncodedConversation(string Id, string PromptId, int[] Tokens, int PromptPosition)
{
    /// <summary>Where f(x⊕y) is read: the last token, or the last one that is not padding.</summary>
    public int LastPosition { get; init; } = Tokens.Length - 1;
}

/// <summary>What became of a conversation that was to be encoded within a limit.</summary>
public abstract record EncodingResult
{
    /// <summary>It is within the limit.</summary>
    /// <param name="Conversation">As tokens.</param>
    public sealed record Done(EncodedConversation Conversation) : EncodingResult;

    /// <summary>It is longer; it was not encoded where its length alone tells.</summary>
    /// <param name="Tokens">How many tokens it has, for people.</param>
    public sealed record TooLong(string Tokens) : EncodingResult;

    /// <summary>The backbone's chat template has no form for it.</summary>
    /// <param name="Why">What the template says.</param>
    public sealed record Refused(string Why) : EncodingResult;
}

/// <summary>
/// Which conversations have the same features: those of one normalised text where the template trims contents, else those of one text.
/// </summary>
/// <param name="KeepsBlanks">False where the template trims contents.</param>
/// <param name="SharesPrompts">False where f(x) depends on the response that follows.</param>
public readonly record struct ConversationKeys(bool KeepsBlanks, bool SharesPrompts)
{
    /// <summary>Of f(x⊕y).</summary>
    public string Of(Conversation conversation) => KeepsBlanks ? conversation.TextId : conversation.Id;

    /// <summary>Of f(x).</summary>
    public string OfPrompt(Conversation conversation)
    {
        if (!SharesPrompts) return Of(conversation);
        return KeepsBlanks ? conversation.PromptTextId : conversation.PromptId;
    }
}
