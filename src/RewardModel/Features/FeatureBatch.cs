using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Features;

/// <summary>
/// Conversations that are computed together, as the texts of a backbone: a prompt, and the responses that follow it.
/// </summary>
internal sealed class FeatureBatch
{
    private readonly List<BackboneText> _texts = [];
    private readonly List<(int Item, int Response, int Prompt)> _items = [];
    private int _reads, _promptRead;

    /// <summary>What the backbone computes.</summary>
    public IReadOnlyList<BackboneText> Texts => _texts;

    /// <summary>For each conversation its index, and which of the positions read are f(x⊕y) and f(x).</summary>
    public IReadOnlyList<(int Item, int Response, int Prompt)> Items => _items;

    /// <summary>Tokens that are computed.</summary>
    public long Tokens { get; private set; }

    /// <summary>Batches of about so many tokens, in the order of the conversations; each prompt's responses side by side.</summary>
    /// <param name="conversations">Encoded conversations.</param>
    /// <param name="items">Indices of those to put into batches.</param>
    /// <param name="sharesPrompts">False where a prompt's states depend on what follows it.</param>
    /// <param name="tokensPerBatch">About how many tokens a batch has, as even as may be; asked before each batch.</param>
    public static IEnumerable<FeatureBatch> Of(
        IReadOnlyList<EncodedConversation> conversations, IEnumerable<int> items, bool sharesPrompts, Func<long> tokensPerBatch)
    {
        FeatureBatch batch = new();
        int[][] groups = [.. Groups(conversations, items, sharesPrompts)];
        long left = groups.Sum(group => TokensOf(group, conversations, sharesPrompts)), most = EvenShare(left, tokensPerBatch());
        foreach (int[] group in groups)
        {
            int prompt = -1;
            foreach (int item in group)
            {
                if (batch.Tokens >= most)
                {
                    yield return batch;
                    left -= batch.Tokens;
                    if (prompt >= 0) left += conversations[item].PromptPosition + 1; // which the next batch computes again
                    most = EvenShare(left, tokensPerBatch());
                    batch = new FeatureBatch();
                    prompt = -1;
                }
                prompt = batch.Add(item, conversations[item], sharesPrompts, prompt);
            }
        }
        if (batch.Items.Count > 0) yield return batch;
    }

    /// <summary>What is left over for a last batch would be computed slowly: it is spread over the others.</summary>
    private static long EvenShare(long left, long wanted) => left / Math.Max(1, (long)Math.Round((double)left / wanted));

    /// <summary>Tokens that are computed for conversations of one prompt.</summary>
    private static long TokensOf(int[] group, IReadOnlyList<EncodedConversation> conversations, bool sharesPrompts)
    {
        long all = group.Sum(item => (long)conversations[item].Tokens.Length);
        return sharesPrompts ? all - ((group.Length - 1L) * (conversations[group[0]].PromptPosition + 1)) : all;
    }

    /// <summary>Indices of conversations whose prompts are the same tokens, in the order of their first.</summary>
    private static IEnumerable<int[]> Groups(
        IReadOnlyList<EncodedConversation> conversations, IEnumerable<int> items, bool sharesPrompts)
    {
        if (!sharesPrompts) return items.Select(i => new[] { i });
        return items.GroupBy(i => (conversations[i].PromptId, conversations[i].PromptPosition))
            .SelectMany(group => group.GroupBy(i => i, new SamePrompt(conversations)))
            .Select(group => group.ToArray());
    }

    /// <returns>The prompt's text.</returns>
    private int Add(int item, EncodedConversation conversation, bool sharesPrompts, int prompt)
    {
        int end = conversation.PromptPosition + 1;
        if (!sharesPrompts)
        {
            Add(new BackboneText(conversation.Tokens, [conversation.LastPosition, conversation.PromptPosition]));
            _items.Add((item, _reads - 2, _reads - 1));
            return -1;
        }
        if (prompt < 0)
        {
            prompt = _texts.Count;
            Add(new BackboneText(conversation.Tokens[..end], [conversation.PromptPosition]));
            _promptRead = _reads - 1;
        }
        Add(new BackboneText(conversation.Tokens[end..], [conversation.LastPosition - end]) { After = prompt });
        _items.Add((item, _reads - 1, _promptRead));
        return prompt;
    }

    private void Add(BackboneText text)
    {
        _texts.Add(text);
        _reads += text.ReadAt.Length;
        Tokens += text.Tokens.Length;
    }

    /// <summary>Prompts of one id have the same tokens but for what a response may change at their very end.</summary>
    private sealed class SamePrompt(IReadOnlyList<EncodedConversation> conversations) : IEqualityComparer<int>
    {
        public bool Equals(int a, int b) => Prompt(a).SequenceEqual(Prompt(b));

        public int GetHashCode(int item) => conversations[item].PromptPosition;

        private ReadOnlySpan<int> Prompt(int item) => conversations[item].Tokens.AsSpan(0, conversations[item].PromptPosition + 1);
    }
}
