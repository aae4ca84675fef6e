using System.Runtime.InteropServices;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using Shouldly;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Where there is no memory for a batch, it is computed in parts; the features stay what they are.</summary>
public sealed class MemoryShortageTests : IDisposable
{
    private const long MostTokens = 300;
    private readonly TemporaryFolder _folder = new();
    private readonly EncodedConversation[] _conversations;

    private sealed class LibtorchException(string message) : ExternalException(message);

    /// <summary>A backbone on a machine whose memory ends at so many tokens.</summary>
    private sealed class TightBackbone(IBackbone model, long mostTokens) : IBackbone
    {
        public int Failures { get; private set; }

        public BackboneConfig Config => model.Config;

        public Tensor Forward(IReadOnlyList<BackboneText> texts, CancellationToken cancel = default)
        {
            if (texts.Sum(text => (long)text.Tokens.Length) <= mostTokens) return model.Forward(texts, cancel);
            Failures++;
            throw new LibtorchException("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1234 bytes.");
        }

        public BackbonePrefix Read(int[] tokens, CancellationToken cancel = default) => model.Read(tokens, cancel);

        public void Dispose() => model.Dispose();
    }

    public MemoryShortageTests()
    {
        TinyCheckpoint.Write(_folder.Path);
        ChatTokenizer tokenizer = ChatTokenizer.Load(_folder.File("tokenizer.json"));
        _conversations = [.. Enumerable.Range(0, 40).Select(i =>
            tokenizer.Encode(Conversation.Create($"prompt {i / 4}", new string('x', 1 + (7 * i % 90)), "here")))];
    }

    public void Dispose() => _folder.Dispose();

    private TightBackbone Tight(long mostTokens) => new(Backbones.Load(_folder.Path, ScalarType.Float32, CPU), mostTokens);

    [Fact]
    public void What_libtorch_says_of_a_matrix_that_nothing_can_hold_is_known_for_that()
    {
        MemoryShortage.Is(Should.Throw<ExternalException>(() => empty(1L << 55))).ShouldBeTrue();
        MemoryShortage.Is(Should.Throw<ExternalException>(() => ones(3).add_(ones(4)))).ShouldBeFalse();
    }

    [Fact]
    public void A_batch_that_is_too_much_is_computed_in_parts_and_those_after_it_are_smaller()
    {
        using FeatureExtractor wide = new(Backbones.Load(_folder.Path, ScalarType.Float32, CPU), 4096);
        using TightBackbone tight = Tight(MostTokens);
        using FeatureExtractor extractor = new(tight, 4096);
        ConversationFeatures[] expected = wide.Extract(_conversations);
        int told = 0;
        ConversationFeatures[] found = extractor.Extract(_conversations, done => told = done.Conversations);
        told.ShouldBe(_conversations.Length);
        tight.Failures.ShouldBeGreaterThan(0);
        int failures = tight.Failures;
        extractor.Extract(_conversations);
        tight.Failures.ShouldBe(failures, "what did not fit once is not tried again");
        foreach ((ConversationFeatures one, ConversationFeatures other) in expected.Zip(found))
        {
            one.Embedding.ShouldBe(other.Embedding);
            one.PromptEmbedding.ShouldBe(other.PromptEmbedding);
        }
    }

    [Fact]
    public void A_server_s_batch_after_a_prompt_is_computed_in_parts_too()
    {
        using TightBackbone tight = Tight(MostTokens);
        using FeatureExtractor extractor = new(tight, 4096);
        EncodedConversation[] answers = [.. _conversations[..4], .. _conversations[..4], .. _conversations[..4], .. _conversations[..4]];
        using BackbonePrefix prompt = extractor.ReadPrompt(answers[0]);
        ConversationFeatures[] found = extractor.ExtractAfter(prompt, answers);
        tight.Failures.ShouldBeGreaterThan(0);
        found.Select(f => f.Embedding.Length).ShouldAllBe(length => length == extractor.Dimension);
        found[0].Embedding.ShouldBe(found[4].Embedding);
    }

    [Fact]
    public void A_conversation_that_does_not_fit_by_itself_is_named()
    {
        using FeatureExtractor extractor = new(Tight(5), 4096);
        InvalidInputException refused = Should.Throw<InvalidInputException>(() => extractor.Extract(_conversations));
        refused.Message.ShouldContain(_conversations[0].Id);
        refused.Message.ShouldContain("no memory");
        refused.Message.ShouldContain("backbone.maxTokens");
    }
}
