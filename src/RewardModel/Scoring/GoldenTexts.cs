using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>
/// Conversations that an exported model is checked with: made up, so that no one's text leaves with a model. They differ in
/// length, turns, language and symbols, as what a wrong template or tokenizer stumbles over.
/// </summary>
public static class GoldenTexts
{
    private static readonly (string Role, string Content)[][] Made =
    [
        [("user", "Name three primary colours."), ("assistant", "Red, yellow and blue.")],
        [("user", "What is 17 × 23? Show the steps."), ("assistant", "17 × 20 = 340 and 17 × 3 = 51.\n\n340 + 51 = **391**.")],
        [("system", "Answer in one sentence."), ("user", "Why is the sky blue?"),
            ("assistant", "Air scatters short waves of light more than long ones.")],
        [("user", "Write a function that adds two numbers."), ("assistant", "```python\ndef add(a, b):\n    return a + b\n```")],
        [("user", "Hallo!"), ("assistant", "Grüezi, wie kann ich helfen?"), ("user", "Wie spät ist es?"),
            ("assistant", "Das weiss ich leider nicht. 🕰")],
    ];

    /// <summary>Those within a limit of tokens that the template has a form for; the first has a dozen.</summary>
    /// <param name="tokenizer">Counts the tokens.</param>
    /// <param name="maxTokens">The limit.</param>
    public static IReadOnlyList<Conversation> Within(ChatTokenizer tokenizer, int maxTokens)
    {
        Conversation[] all = [.. Made.Select(turns =>
            Conversation.Create(turns.Select(t => new Message(t.Role, t.Content)), "golden text"))];
        return [.. all.Where(c => tokenizer.EncodeWithin(c, maxTokens) is EncodingResult.Done)];
    }
}
