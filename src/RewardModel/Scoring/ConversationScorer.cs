using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>A backbone and a trained model: conversations in, explained scores out.</summary>
public sealed class ConversationScorer : IDisposable
{
    private readonly FeatureExtractor _extractor;
    private readonly PromptCache _features;
    private readonly ChatTokenizer _tokenizer;
    private readonly int _maxTokens;

    /// <summary>The model that scores.</summary>
    public TrainedModel Model { get; }

    /// <summary>Loads a backbone.</summary>
    /// <param name="backbone">Its folder.</param>
    /// <param name="model">Trained on its features.</param>
    /// <param name="dtype">'f32' or 'bf16', as the features were computed in.</param>
    /// <param name="maxTokens">The longest conversation that is scored.</param>
    /// <param name="allowsSpecials">See <see cref="ChatTokenizer.AllowsSpecials"/>.</param>
    /// <exception cref="InvalidInputException">The folder holds no backbone that is computed, or not the model's.</exception>
    public ConversationScorer(string backbone, TrainedModel model, string dtype, int maxTokens, bool allowsSpecials = false)
    {
        _tokenizer = BackboneParts.Open(backbone, allowsSpecials).Tokenizer;
        _extractor = new FeatureExtractor(backbone, ComputeType.Parse(dtype), ComputeType.BestDevice);
        if (_extractor.Dimension != model.Gate.Inputs)
        {
            throw new InvalidInputException(backbone, $"a backbone of hidden size {_extractor.Dimension}",
                $"{model.Gate.Inputs}, as the model was trained on", "Use the backbone of this model.");
        }
        Model = model;
        _maxTokens = maxTokens;
        _features = new PromptCache(_extractor);
    }

    /// <summary>A conversation's tokens.</summary>
    /// <exception cref="InvalidInputException">It is longer than the limit.</exception>
    public EncodedConversation Encode(Conversation conversation, string place)
    {
        long fewest = _tokenizer.FewestTokens(conversation);
        if (fewest > _maxTokens) throw TooLong($"at least {fewest} tokens");
        EncodedConversation encoded = _tokenizer.Encode(conversation);
        return encoded.Tokens.Length <= _maxTokens ? encoded : throw TooLong($"{encoded.Tokens.Length} tokens");

        InvalidInputException TooLong(string found) =>
            new(place, found, $"at most {_maxTokens}", "Shorten it; a cut conversation would get another's score.");
    }

    /// <summary>Scores conversations.</summary>
    /// <exception cref="InvalidInputException">A conversation is longer than the limit.</exception>
    public IReadOnlyList<Explanation> Score(IReadOnlyList<Conversation> conversations, Steering? steering = null,
        CancellationToken cancel = default) =>
        Score([.. conversations.Select((c, i) => Encode(c, $"conversation {i + 1}"))], steering, cancel);

    /// <summary>Scores conversations that were encoded before.</summary>
    /// <exception cref="InvalidInputException">The backbone overflows on one.</exception>
    public IReadOnlyList<Explanation> Score(IReadOnlyList<EncodedConversation> conversations, Steering? steering = null,
        CancellationToken cancel = default) =>
        [.. Score(conversations, steering, (_, e) => throw e, cancel).OfType<Explanation>()];

    /// <summary>The same, where what is wrong with one is told, and the others are scored.</summary>
    /// <param name="conversations">Encoded conversations.</param>
    /// <param name="steering">Coefficients to fix or scale.</param>
    /// <param name="refused">Told a conversation's index and why it has no score.</param>
    /// <param name="cancel">Checked between layers.</param>
    /// <returns>Item i for conversation i; null where it was refused.</returns>
    public Explanation?[] Score(IReadOnlyList<EncodedConversation> conversations, Steering? steering,
        Action<int, InvalidInputException> refused, CancellationToken cancel = default)
    {
        ConversationFeatures[] features = _features.Extract(conversations, cancel);
        Explanation?[] scores = new Explanation?[features.Length];
        for (int i = 0; i < scores.Length; i++)
        {
            try
            {
                scores[i] = Model.Explain(features[i].RequireFinite(conversations[i].Id).Embedding, features[i].PromptEmbedding, steering);
            }
            catch (InvalidInputException e) { refused(i, e); }
        }
        return scores;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _features.Dispose();
        _extractor.Dispose();
    }
}
