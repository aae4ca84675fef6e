using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>A backbone and a trained model: conversations in, explained scores out.</summary>
public sealed class ConversationScorer : IDisposable
{
    private readonly FeatureExtractor _extractor;
    private readonly LlamaTokenizer _tokenizer;
    private readonly int _maxTokens;

    public TrainedModel Model { get; }

    public ConversationScorer(string backbone, TrainedModel model, string dtype, int maxTokens)
    {
        ChatTemplate.Require(Path.Combine(backbone, "tokenizer_config.json"));
        _tokenizer = LlamaTokenizer.Load(Path.Combine(backbone, "tokenizer.json")).RequireTemplateTokens();
        _extractor = new FeatureExtractor(backbone, ComputeType.Parse(dtype), ComputeType.BestDevice);
        if (_extractor.Dimension != model.Gate.Inputs)
            throw new InvalidInputException(backbone, $"a backbone of hidden size {_extractor.Dimension}", $"{model.Gate.Inputs}, as the model was trained on", "Use the backbone of this model.");
        (Model, _maxTokens) = (model, maxTokens);
    }

    /// <summary>A conversation's tokens.</summary>
    /// <exception cref="InvalidInputException">It is longer than the limit.</exception>
    public EncodedConversation Encode(Conversation conversation, string place)
    {
        EncodedConversation encoded = _tokenizer.Encode(conversation);
        return encoded.Tokens.Length <= _maxTokens ? encoded
            : throw new InvalidInputException(place, $"{encoded.Tokens.Length} tokens", $"at most {_maxTokens}", "Shorten it; a cut conversation would get another's score.");
    }

    /// <summary>Scores conversations.</summary>
    /// <exception cref="InvalidInputException">A conversation is longer than the limit.</exception>
    public IReadOnlyList<Explanation> Score(IReadOnlyList<Conversation> conversations, Steering? steering = null, CancellationToken cancel = default) =>
        Score([.. conversations.Select((c, i) => Encode(c, $"conversation {i + 1}"))], steering, cancel);

    /// <summary>Scores conversations that were encoded before.</summary>
    public IReadOnlyList<Explanation> Score(IReadOnlyList<EncodedConversation> conversations, Steering? steering = null, CancellationToken cancel = default) =>
        [.. _extractor.Extract(conversations, cancel: cancel).Select(f => Model.Explain(f.Embedding, f.PromptEmbedding, steering))];

    public void Dispose() => _extractor.Dispose();
}
