using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Features;

/// <summary>f(x⊕y) and f(x) of one conversation, [d] float32 each.</summary>
public sealed record ConversationFeatures(float[] Embedding, float[] PromptEmbedding)
{
    /// <summary>These features, which must be finite numbers.</summary>
    /// <param name="conversation">Its id, for the error.</param>
    /// <exception cref="InvalidInputException">One is not a finite number.</exception>
    public ConversationFeatures RequireFinite(string conversation) =>
        Embedding.All(float.IsFinite) && PromptEmbedding.All(float.IsFinite) ? this
            : throw new InvalidInputException($"conversation {conversation}", "a feature that is not a finite number",
                "finite hidden states", "The backbone overflows in this dtype; set backbone.dtype to f32.");
}

/// <summary>
/// Hidden states of the frozen backbone at the two positions of the method: the last token of the templated conversation,
/// and the token that closes the prompt (paper, sections 3.1 and 3.2).
/// </summary>
public sealed class FeatureExtractor : IDisposable
{
    private const double FlopsPerBatch = 2e11; // well under a second on two cores, so that cancelling is prompt and progress moves
    private readonly IBackbone _model;
    private readonly long _tokensPerBatch;

    /// <summary>The dimension of a feature, d: the hidden size of the backbone.</summary>
    public int Dimension => _model.Config.HiddenSize;

    /// <summary>Loads a backbone.</summary>
    /// <param name="backbone">Its folder.</param>
    /// <param name="dtype">The number type to compute in.</param>
    /// <param name="device">Where to compute.</param>
    /// <exception cref="InvalidInputException">The folder does not hold a backbone that is computed.</exception>
    public FeatureExtractor(string backbone, ScalarType dtype, Device device)
    {
        _model = Backbones.Load(backbone, dtype, device);
        _tokensPerBatch = Math.Clamp((long)(FlopsPerBatch / (2.0 * _model.Config.Parameters)), 256, 16384);
    }

    /// <summary>
    /// Extracts features of many conversations, batched with others of like length and padded on the right.
    /// </summary>
    /// <param name="conversations">Encoded conversations, in any order.</param>
    /// <param name="progress">Told the number of conversations finished, after each batch.</param>
    /// <param name="cancel">Checked between layers.</param>
    /// <returns>Features, item i for conversation i.</returns>
    /// <exception cref="InvalidInputException">The backbone overflows on one.</exception>
    public ConversationFeatures[] Extract(IReadOnlyList<EncodedConversation> conversations, Action<int>? progress = null,
        CancellationToken cancel = default) =>
        Extract(conversations, (c, features) => features.RequireFinite(c.Id), progress, cancel);

    /// <summary>The same, with features that may not be finite numbers.</summary>
    public ConversationFeatures[] ExtractUnchecked(IReadOnlyList<EncodedConversation> conversations, CancellationToken cancel) =>
        Extract(conversations, (_, _) => { }, null, cancel);

    private ConversationFeatures[] Extract(IReadOnlyList<EncodedConversation> conversations,
        Action<EncodedConversation, ConversationFeatures> check, Action<int>? progress, CancellationToken cancel)
    {
        ConversationFeatures[] results = new ConversationFeatures[conversations.Count];
        int done = 0;
        foreach (int[] batch in BatchesByLength(conversations, _tokensPerBatch))
        {
            cancel.ThrowIfCancellationRequested();
            ExtractBatch(conversations, batch, results, cancel);
            foreach (int i in batch) check(conversations[i], results[i]);
            done += batch.Length;
            progress?.Invoke(done);
        }
        return results;
    }

    /// <summary>False where a prompt's pass depends on the response that follows.</summary>
    public bool SharesPrompts => !_model.Config.DependsOnLength;

    /// <summary>Reads a conversation's prompt, for <see cref="ExtractAfter"/>; where <see cref="SharesPrompts"/>.</summary>
    public BackbonePrefix ReadPrompt(EncodedConversation conversation, CancellationToken cancel = default)
    {
        using DisposeScope scope = NewDisposeScope();
        return _model.Read(tensor([.. conversation.Tokens.Take(conversation.PromptPosition + 1).Select(t => (long)t)],
            [1, conversation.PromptPosition + 1]), cancel);
    }

    /// <summary>As <see cref="ExtractUnchecked"/>, for conversations of one prompt that has been read.</summary>
    public ConversationFeatures[] ExtractAfter(BackbonePrefix prompt, IReadOnlyList<EncodedConversation> conversations,
        CancellationToken cancel = default)
    {
        ConversationFeatures[] results = new ConversationFeatures[conversations.Count];
        float[] promptEmbedding = prompt.Hidden.data<float>().ToArray();
        foreach (int[] batch in BatchesByLength(conversations, _tokensPerBatch))
        {
            cancel.ThrowIfCancellationRequested();
            using DisposeScope scope = NewDisposeScope();
            long[] last = [.. batch.Select(i => conversations[i].LastPosition - prompt.Length)];
            // [batch, 1, d]
            float[] values =
                _model.Forward(prompt, Padded(conversations, batch, (int)prompt.Length), tensor(last, [batch.Length, 1]), cancel)
                    .data<float>()
                    .ToArray();
            for (int b = 0; b < batch.Length; b++)
                results[batch[b]] = new ConversationFeatures(values[(b * Dimension)..((b + 1) * Dimension)], promptEmbedding);
        }
        return results;
    }

    private void ExtractBatch(IReadOnlyList<EncodedConversation> conversations, int[] batch, ConversationFeatures[] results,
        CancellationToken cancel)
    {
        using DisposeScope scope = NewDisposeScope();
        // The last position is read so that the model knows where each text ends.
        long[] readAt = [.. batch.SelectMany(i =>
            new long[] { conversations[i].LastPosition, conversations[i].PromptPosition, conversations[i].Tokens.Length - 1 })];
        int d = Dimension, reads = readAt.Length / batch.Length;
        bool endIsLast = batch.All(i => conversations[i].LastPosition == conversations[i].Tokens.Length - 1);
        Tensor at = tensor(readAt, [batch.Length, reads]);
        if (endIsLast) at = at.narrow(1, 0, --reads);
        // [batch, reads, d]
        float[] values = _model.Forward(Padded(conversations, batch, 0), at, cancel).data<float>().ToArray();
        for (int b = 0; b < batch.Length; b++)
        {
            int row = b * reads * d;
            results[batch[b]] = new ConversationFeatures(values[row..(row + d)], values[(row + d)..(row + 2 * d)]);
        }
    }

    /// <summary>[batch, length] tokens from a position on, padded on the right.</summary>
    private static Tensor Padded(IReadOnlyList<EncodedConversation> conversations, int[] batch, int from)
    {
        int length = batch.Max(i => conversations[i].Tokens.Length) - from;
        long[] tokens = new long[batch.Length * length];
        for (int b = 0; b < batch.Length; b++)
        {
            int[] all = conversations[batch[b]].Tokens;
            for (int t = from; t < all.Length; t++) tokens[b * length + t - from] = all[t];
        }
        return tensor(tokens, [batch.Length, length]);
    }

    /// <summary>
    /// Groups of indices of like length whose padded size stays within the budget; ties keep their order, so the cut is a function
    /// of the input alone.
    /// </summary>
    public static IEnumerable<int[]> BatchesByLength(IReadOnlyList<EncodedConversation> conversations, long tokensPerBatch)
    {
        List<int> batch = [];
        foreach (int i in Enumerable.Range(0, conversations.Count).OrderBy(i => conversations[i].Tokens.Length))
        {
            if (batch.Count > 0 && (batch.Count + 1L) * conversations[i].Tokens.Length > tokensPerBatch)
            {
                yield return [.. batch];
                batch.Clear();
            }
            batch.Add(i);
        }
        if (batch.Count > 0) yield return [.. batch];
    }

    /// <inheritdoc/>
    public void Dispose() => _model.Dispose();
}
