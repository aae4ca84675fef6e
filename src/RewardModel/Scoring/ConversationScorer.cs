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

    /// <summary>Checks that a conversation can be scored.</summary>
    /// <exception cref="InvalidInputException">It is longer than the limit.</exception>
    public Conversation Require(Conversation conversation)
    {
        int tokens = _tokenizer.Encode(conversation).Tokens.Length;
        return tokens <= _maxTokens ? conversation : throw new InvalidInputException("conversation", $"{tokens} tokens", $"at most {_maxTokens}", "Shorten it; a cut conversation would get another's score.");
    }

    /// <summary>Scores conversations.</summary>
    /// <exception cref="InvalidInputException">A conversation is longer than the limit.</exception>
    public IReadOnlyList<Explanation> Score(IReadOnlyList<Conversation> conversations, Steering? steering = null, Action<int>? progress = null, CancellationToken cancel = default)
    {
        EncodedConversation[] encoded = [.. conversations.Select(_tokenizer.Encode)];
        for (int i = 0; i < encoded.Length; i++)
            if (encoded[i].Tokens.Length > _maxTokens)
                throw new InvalidInputException($"conversation {i + 1}", $"{encoded[i].Tokens.Length} tokens", $"at most {_maxTokens}", "Shorten it; a cut conversation would get another's score.");
        return [.. _extractor.Extract(encoded, progress, cancel).Select(f => Model.Explain(f.Embedding, f.PromptEmbedding, steering))];
    }

    public void Dispose() => _extractor.Dispose();
}
