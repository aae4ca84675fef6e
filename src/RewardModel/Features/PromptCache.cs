using System.Globalization;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Features;

/// <summary>
/// Extracts features for scoring, with prompts that come again read once: many responses of one prompt in a request, or one after
/// the other, as trainers sample them. What is kept of the prompts read last stays within a bound of memory.
/// </summary>
/// <param name="extractor">Computes the features.</param>
/// <param name="mostBytes">The most bytes of memory that prompts may hold.</param>
public sealed class PromptCache(FeatureExtractor extractor, long mostBytes = 1L << 30) : IDisposable
{
    // A group of its own is a pass of its own, in which all weights are read once more. On two CPU cores that costs as much as some
    // twenty tokens, on an accelerator as some hundreds.
    private const int TokensWorthAPass = 256, PromptsRemembered = 4096;
    private readonly OrderedDictionary<string, BackbonePrefix> _kept = []; // the one used last at the end
    private readonly OrderedDictionary<string, bool> _seen = [];

    /// <summary>How many tokens of prompts were not computed because they had been read.</summary>
    public long TokensSaved { get; private set; }

    /// <summary>As <see cref="FeatureExtractor.ExtractUnchecked"/>, but for the last digits.</summary>
    public ConversationFeatures[] Extract(IReadOnlyList<EncodedConversation> conversations, CancellationToken cancel = default)
    {
        ConversationFeatures[] results = new ConversationFeatures[conversations.Count];
        List<int> others = [];
        foreach (IGrouping<string, int> group in Enumerable.Range(0, conversations.Count).GroupBy(i => IdOf(conversations[i])))
        {
            int[] items = [.. group];
            if (PromptOf(conversations[items[0]], items.Length, cancel) is { } prompt)
                Take(items, extractor.ExtractAfter(prompt, [.. items.Select(i => conversations[i])], cancel));
            else others.AddRange(items);
        }
        Take(others, extractor.ExtractUnchecked([.. others.Select(i => conversations[i])], cancel));
        return results;

        void Take(IReadOnlyList<int> items, ConversationFeatures[] found)
        {
            for (int i = 0; i < items.Count; i++) results[items[i]] = found[i];
        }
    }

    /// <summary>
    /// Equal ids, equal tokens up to where f(x) is read: under a template without control tokens a response may change where that is.
    /// </summary>
    private static string IdOf(EncodedConversation conversation) =>
        string.Create(CultureInfo.InvariantCulture, $"{conversation.PromptId} {conversation.PromptPosition}");

    /// <summary>The prompt, read now or before; null where it is cheaper to read it with each response.</summary>
    private BackbonePrefix? PromptOf(EncodedConversation conversation, int responses, CancellationToken cancel)
    {
        if (!extractor.SharesPrompts) return null;
        string id = IdOf(conversation);
        long length = conversation.PromptPosition + 1;
        bool isKept = _kept.Remove(id, out BackbonePrefix? prompt);
        bool isSeen = _seen.Remove(id);
        _seen.Add(id, true);
        if (_seen.Count > PromptsRemembered) _seen.RemoveAt(0);
        long saved = length * (isKept || isSeen ? responses : responses - 1); // a prompt that comes again will come again
        if (!isKept && saved >= TokensWorthAPass) prompt = extractor.ReadPrompt(conversation, cancel);
        if (prompt is null) return null;
        _kept.Add(id, prompt);
        while (_kept.Count > 1 && _kept.Values.Sum(p => p.Bytes) > mostBytes)
        {
            _kept.GetAt(0).Value.Dispose();
            _kept.RemoveAt(0);
        }
        if (saved < TokensWorthAPass) return null;
        TokensSaved += length * (isKept ? responses : responses - 1);
        return prompt;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (BackbonePrefix prompt in _kept.Values) prompt.Dispose();
        _kept.Clear();
    }
}
