namespace ArmoFlow.Workers.Features;

/// <summary>
/// Responses that wait for a shard, those to one prompt together: they share its pass only within a shard, and data sets list answers
/// by model as often as by prompt.
/// </summary>
/// <param name="promptOf">The prompt that a response belongs to.</param>
/// <param name="tokensOf">How many tokens it has.</param>
public sealed class PendingResponses<T>(Func<T, string> promptOf, Func<T, long> tokensOf)
{
    private readonly Dictionary<string, Queue<T>> _responses = [];
    private readonly Queue<string> _prompts = []; // those that have responses here, the longest waiting first

    /// <summary>Tokens of all.</summary>
    public long Tokens { get; private set; }

    /// <summary>Whether there are none.</summary>
    public bool IsEmpty => _prompts.Count == 0;

    /// <summary>Adds a response.</summary>
    public void Add(T response)
    {
        string prompt = promptOf(response);
        if (_responses.TryAdd(prompt, [])) _prompts.Enqueue(prompt);
        _responses[prompt].Enqueue(response);
        Tokens += tokensOf(response);
    }

    /// <summary>Takes those that have waited longest, each with what has come for its prompt since; at least one if any is here.</summary>
    /// <param name="most">The most tokens, unless the first alone has more.</param>
    public List<T> Take(long most)
    {
        List<T> taken = [];
        long left = most;
        while (_prompts.TryPeek(out string? prompt))
        {
            Queue<T> responses = _responses[prompt];
            long tokens = tokensOf(responses.Peek());
            if (taken.Count > 0 && tokens > left) break;
            taken.Add(responses.Dequeue());
            left -= tokens;
            if (responses.Count == 0) _responses.Remove(_prompts.Dequeue());
        }
        Tokens -= taken.Sum(tokensOf);
        return taken;
    }
}
