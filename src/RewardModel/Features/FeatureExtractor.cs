using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Features;

/// <summary>f(x⊕y) and f(x) of one conversation, [d] float32 each.</summary>
public sealed record ConversationFeatures(float[] Embedding, float[] PromptEmbedding);

/// <summary>
/// Hidden states of the frozen backbone at the two positions of the method: the last token of the templated conversation,
/// and the end-of-turn token that closes the prompt (paper, sections 3.1 and 3.2).
/// </summary>
public sealed class FeatureExtractor : IDisposable
{
    private const double FlopsPerBatch = 2e11; // well under a second on two cores, so that cancelling is prompt and progress moves
    private readonly LlamaModel _model;
    private readonly long _tokensPerBatch;

    public int Dimension => _model.Config.HiddenSize;

    public FeatureExtractor(string backbone, ScalarType dtype, Device device)
    {
        _model = new LlamaModel(backbone, dtype, device);
        _tokensPerBatch = Math.Clamp((long)(FlopsPerBatch / (2.0 * _model.Config.Parameters)), 256, 16384);
    }

    /// <summary>
    /// Extracts features of many conversations, batched with others of like length and padded on the right.
    /// </summary>
    /// <param name="conversations">Encoded conversations, in any order.</param>
    /// <param name="progress">Told the number of conversations finished, after each batch.</param>
    /// <param name="cancel">Looked at between layers.</param>
    /// <returns>Features, item i for conversation i.</returns>
    public ConversationFeatures[] Extract(IReadOnlyList<EncodedConversation> conversations, Action<int>? progress = null, CancellationToken cancel = default)
    {
        ConversationFeatures[] results = new ConversationFeatures[conversations.Count];
        int done = 0;
        foreach (int[] batch in BatchesByLength(conversations, _tokensPerBatch))
        {
            cancel.ThrowIfCancellationRequested();
            ExtractBatch(conversations, batch, results, cancel);
            done += batch.Length;
            progress?.Invoke(done);
        }
        return results;
    }

    private void ExtractBatch(IReadOnlyList<EncodedConversation> conversations, int[] batch, ConversationFeatures[] results, CancellationToken cancel)
    {
        using DisposeScope scope = NewDisposeScope();
        int length = batch.Max(i => conversations[i].Tokens.Length);
        long[] tokens = new long[batch.Length * length], readAt = new long[batch.Length * 2];
        for (int b = 0; b < batch.Length; b++)
        {
            EncodedConversation c = conversations[batch[b]];
            for (int t = 0; t < c.Tokens.Length; t++) tokens[b * length + t] = c.Tokens[t];
            readAt[2 * b] = c.Tokens.Length - 1;
            readAt[2 * b + 1] = c.PromptPosition;
        }
        Tensor hidden = _model.Forward(tensor(tokens, [batch.Length, length]), tensor(readAt, [batch.Length, 2]), cancel); // [batch, 2, d]
        float[] values = hidden.data<float>().ToArray();
        int d = Dimension;
        for (int b = 0; b < batch.Length; b++)
        {
            float[] embedding = values[(2 * b * d)..((2 * b + 1) * d)], prompt = values[((2 * b + 1) * d)..((2 * b + 2) * d)];
            if (!embedding.All(float.IsFinite) || !prompt.All(float.IsFinite))
                throw new InvalidInputException($"conversation {conversations[batch[b]].Id}", "a feature that is not a finite number", "finite hidden states", "The backbone overflows in this dtype; set backbone.dtype to f32.");
            results[batch[b]] = new ConversationFeatures(embedding, prompt);
        }
    }

    /// <summary>Groups of indices of like length whose padded size stays within the budget; ties keep their order, so the cut is a function of the input alone.</summary>
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

    public void Dispose() => _model.Dispose();
}
