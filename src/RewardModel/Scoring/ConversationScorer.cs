using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>A backbone and a trained model: conversations in, explained scores out.</summary>
public sealed class ConversationScorer : IDisposable
{
    private readonly FeatureExtractor _extractor;
    private readonly PromptCache _features;
    private readonly int _maxTokens;

    /// <summary>What makes tokens of conversations.</summary>
    public ChatTokenizer Tokenizer { get; }

    /// <summary>The model that scores.</summary>
    public TrainedModel Model { get; }

    /// <summary>Loads a backbone.</summary>
    /// <param name="backbone">Its folder.</param>
    /// <param name="model">Trained on its features.</param>
    /// <param name="dtype">'f32' or 'bf16', as the features were computed in.</param>
    /// <param name="maxTokens">The longest conversation that is scored.</param>
    /// <param name="options">How conversations become tokens; as usual if null.</param>
    /// <exception cref="InvalidInputException">The folder holds no backbone that is computed, or not the model's.</exception>
    public ConversationScorer(string backbone, TrainedModel model, string dtype, int maxTokens, EncodingOptions? options = null)
    {
        Tokenizer = BackboneParts.Open(backbone, options).Tokenizer;
        _extractor = new FeatureExtractor(backbone, ComputeType.Parse(dtype), ComputeType.BestDevice, WeightsKept.ReadyToCompute);
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
    /// <exception cref="InvalidInputException">It is longer than the limit, or the chat template refuses it.</exception>
    public EncodedConversation Encode(Conversation conversation, string place) =>
        Tokenizer.EncodeWithin(conversation, _maxTokens) switch
        {
            EncodingResult.Done done => done.Conversation,
            EncodingResult.Refused refused => throw ChatTokenizer.Refusal(place, refused.Why),
            EncodingResult.TooLong(string tokens) => throw new InvalidInputException(place, $"{tokens} tokens", $"at most {_maxTokens}",
                "Shorten it; a cut conversation would get another's score."),
            _ => throw new InvalidOperationException("another result"),
        };

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
