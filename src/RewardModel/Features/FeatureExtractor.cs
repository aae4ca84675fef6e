using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Tensors;
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

/// <summary>How far an extraction is.</summary>
/// <param name="Conversations">Conversations that are finished.</param>
/// <param name="Tokens">Tokens that were computed: a prompt's once for the responses that share its pass.</param>
public readonly record struct ExtractionProgress(int Conversations, long Tokens);

/// <summary>
/// Hidden states of the frozen backbone at the two positions of the method: the last token of the templated conversation,
/// and the token that closes the prompt (paper, sections 3.1 and 3.2).
/// </summary>
public sealed class FeatureExtractor : IDisposable
{
    // A second or two on two cores, so that progress moves; cancelling waits for a layer. Products of fewer rows are slower (bench features
    // --profile), and weights that are converted for each batch cost more of its time; wider ones take memory and gain little.
    private const double FlopsPerBatch = 2e11;
    private const int FewestTokens = 1024, MostTokens = 16384;
    private readonly IBackbone _model;

    /// <summary>The dimension of a feature, d: the hidden size of the backbone.</summary>
    public int Dimension => _model.Config.HiddenSize;

    /// <summary>About how many tokens are computed at once; fewer, once there was no memory for so many.</summary>
    internal long TokensPerBatch { get; private set; }

    /// <summary>Loads a backbone.</summary>
    /// <param name="backbone">Its folder.</param>
    /// <param name="dtype">The number type to compute in.</param>
    /// <param name="device">Where to compute.</param>
    /// <param name="kept">How weights are kept on the CPU, if memory allows.</param>
    /// <exception cref="InvalidInputException">The folder does not hold a backbone that is computed.</exception>
    public FeatureExtractor(string backbone, ScalarType dtype, Device device, WeightsKept kept = WeightsKept.AsStored)
    {
        _model = ComputeThread.Run(() => Backbones.Load(backbone, dtype, device, kept));
        double weights = _model.Config.Parameters - ((double)_model.Config.VocabSize * _model.Config.HiddenSize);
        long onCpu = (long)Math.Clamp(FlopsPerBatch / (2 * weights), FewestTokens, MostTokens);
        TokensPerBatch = device.type == DeviceType.CPU ? onCpu : MostTokens;
    }

    /// <summary>With a backbone that is there already.</summary>
    /// <param name="model">The backbone, which is disposed with this.</param>
    /// <param name="tokensPerBatch">About how many tokens are computed at once, if there is memory for them.</param>
    internal FeatureExtractor(IBackbone model, long tokensPerBatch)
    {
        _model = model;
        TokensPerBatch = tokensPerBatch;
    }

    /// <summary>
    /// Extracts features of many conversations. A prompt is computed once for the responses to it that stand side by side; what a
    /// conversation yields does not depend on the others.
    /// </summary>
    /// <param name="conversations">Encoded conversations, in any order.</param>
    /// <param name="progress">Told after each batch.</param>
    /// <param name="cancel">Checked between layers.</param>
    /// <returns>Features, item i for conversation i.</returns>
    /// <exception cref="InvalidInputException">The backbone overflows on one, or memory does not suffice for one by itself.</exception>
    public ConversationFeatures[] Extract(IReadOnlyList<EncodedConversation> conversations, Action<ExtractionProgress>? progress = null,
        CancellationToken cancel = default) =>
        Extract(conversations, (c, features) => features.RequireFinite(c.Id), progress, cancel);

    /// <summary>The same, with features that may not be finite numbers.</summary>
    public ConversationFeatures[] ExtractUnchecked(IReadOnlyList<EncodedConversation> conversations, CancellationToken cancel) =>
        Extract(conversations, (_, _) => { }, null, cancel);

    private ConversationFeatures[] Extract(IReadOnlyList<EncodedConversation> conversations,
        Action<EncodedConversation, ConversationFeatures> check, Action<ExtractionProgress>? progress, CancellationToken cancel)
    {
        ConversationFeatures[] results = new ConversationFeatures[conversations.Count];
        ExtractionProgress done = default;
        foreach ((FeatureBatch batch, float[] values) in Computed(conversations, Enumerable.Range(0, conversations.Count), cancel))
        {
            foreach ((int item, int response, int prompt) in batch.Items)
            {
                results[item] = new ConversationFeatures(Row(values, response), Row(values, prompt));
                check(conversations[item], results[item]);
            }
            done = new ExtractionProgress(done.Conversations + batch.Items.Count, done.Tokens + batch.Tokens);
            progress?.Invoke(done);
        }
        return results;
    }

    /// <summary>Batches of some conversations; one that there is no memory for is computed in parts.</summary>
    private IEnumerable<(FeatureBatch Batch, float[] Values)> Computed(
        IReadOnlyList<EncodedConversation> conversations, IEnumerable<int> items, CancellationToken cancel)
    {
        foreach (FeatureBatch batch in FeatureBatch.Of(conversations, items, SharesPrompts, () => TokensPerBatch))
        {
            cancel.ThrowIfCancellationRequested();
            if (Forward(batch.Texts, cancel) is { } values)
            {
                yield return (batch, values);
                continue;
            }
            int[] all = [.. batch.Items.Select(i => i.Item)];
            BackOff(conversations[all[0]], all.Length, batch.Tokens);
            foreach (int[] half in new[] { all[..(all.Length / 2)], all[(all.Length / 2)..] })
                foreach ((FeatureBatch, float[]) part in Computed(conversations, half, cancel)) yield return part;
        }
    }

    /// <summary>There was no memory for a batch: those to come have half as many tokens.</summary>
    /// <exception cref="InvalidInputException">It was a single conversation, which cannot be computed in parts.</exception>
    private void BackOff(EncodedConversation first, int conversations, long tokens)
    {
        if (conversations == 1)
        {
            throw new InvalidInputException($"conversation {first.Id}", $"{tokens:N0} tokens, for which this machine has no memory",
                "one that fits beside the backbone's weights", "Lower backbone.maxTokens, or use a machine with more memory.");
        }
        TokensPerBatch = Math.Min(TokensPerBatch, Math.Max(1, tokens / 2));
    }

    /// <returns>[reads, d], row after row; null where there is no memory for so many texts.</returns>
    private float[]? Forward(IReadOnlyList<BackboneText> texts, CancellationToken cancel) => ComputeThread.Run(() =>
    {
        using DisposeScope scope = NewDisposeScope();
        try { return _model.Forward(texts, cancel).data<float>().ToArray(); }
        catch (Exception e) when (MemoryShortage.Is(e)) { return null; }
    });

    private float[] Row(float[] values, int row) => values[(row * Dimension)..((row + 1) * Dimension)];

    /// <summary>False where a prompt's pass depends on the response that follows.</summary>
    public bool SharesPrompts => !_model.Config.DependsOnLength;

    /// <summary>Reads a conversation's prompt, for <see cref="ExtractAfter"/>; where <see cref="SharesPrompts"/>.</summary>
    public BackbonePrefix ReadPrompt(EncodedConversation conversation, CancellationToken cancel = default) =>
        ComputeThread.Run(() => _model.Read(conversation.Tokens[..(conversation.PromptPosition + 1)], cancel));

    /// <summary>As <see cref="ExtractUnchecked"/>, for conversations of one prompt that has been read.</summary>
    public ConversationFeatures[] ExtractAfter(BackbonePrefix prompt, IReadOnlyList<EncodedConversation> conversations,
        CancellationToken cancel = default)
    {
        ConversationFeatures[] results = new ConversationFeatures[conversations.Count];
        float[] promptEmbedding = prompt.Hidden.data<float>().ToArray();
        int from = (int)prompt.Length;
        for (int begin = 0; begin < conversations.Count;)
        {
            cancel.ThrowIfCancellationRequested();
            List<BackboneText> texts = [];
            for (long tokens = 0; begin + texts.Count < conversations.Count && tokens < TokensPerBatch; tokens += texts[^1].Tokens.Length)
            {
                EncodedConversation c = conversations[begin + texts.Count];
                texts.Add(new BackboneText(c.Tokens[from..], [c.LastPosition - from]) { Prefix = prompt });
            }
            if (Forward(texts, cancel) is not { } values)
            {
                BackOff(conversations[begin], texts.Count, texts.Sum(text => (long)text.Tokens.Length));
                continue;
            }
            for (int i = 0; i < texts.Count; i++) results[begin + i] = new ConversationFeatures(Row(values, i), promptEmbedding);
            begin += texts.Count;
        }
        return results;
    }

    /// <inheritdoc/>
    public void Dispose() => _model.Dispose();
}
