using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Text;
using Shouldly;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>What follows a prompt that has been read gets the features of the whole.</summary>
public class PromptCacheTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(60)]
    public void What_follows_a_prefix_has_the_hidden_states_of_the_whole(int prefix)
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path, config => config["num_hidden_layers"] = 2);
        using DisposeScope scope = NewDisposeScope();
        using IBackbone model = Backbones.Load(folder.Path, ScalarType.Float64, CPU);
        long[][] rows = [.. Enumerable.Range(0, 3).Select(r => (long[])[
            .. Enumerable.Range(0, prefix).Select(t => (long)(t * 37 % 250)),
            .. Enumerable.Range(0, 9).Select(t => (long)((t + r) * 91 % 250))
        ])];
        long[] readAt = [0, 3, 8, 1, 4, 5, 2, 6, 7];
        Tensor whole =
            model.Forward(tensor([.. rows.SelectMany(r => r)], [3, prefix + 9]), tensor([.. readAt.Select(p => p + prefix)], [3, 3]));
        using BackbonePrefix kept = model.Read(tensor(rows[0][..prefix], [1, prefix]));
        kept.Length.ShouldBe(prefix);
        kept.Bytes.ShouldBe(2L * 2 * 2 * prefix * 4 * sizeof(double), "layers, keys and values, heads, tokens, dimensions");
        Tensor after = model.Forward(kept, tensor([.. rows.SelectMany(r => r[prefix..])], [3, 9]), tensor(readAt, [3, 3]));
        (whole - after).abs().max().item<double>().ShouldBeLessThan(1e-12);
        Tensor last = model.Forward(tensor(rows[0][..prefix], [1, prefix]), tensor(prefix - 1L, ScalarType.Int64).view(1, 1));
        (last - kept.Hidden).abs().max().item<double>().ShouldBeLessThan(1e-12);
    }

    [Theory]
    [InlineData(ScalarType.Float32, 1e-5f)]
    [InlineData(ScalarType.BFloat16, 0.05f)] // as far as another batch is
    public void A_prompt_that_comes_again_is_read_once_and_its_responses_keep_their_features(ScalarType type, float tolerance)
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        ChatTokenizer tokenizer = ChatTokenizer.Load(folder.File("tokenizer.json"));
        using FeatureExtractor extractor = new(folder.Path, type, CPU);
        using PromptCache cache = new(extractor);
        // three prompts, four responses each
        EncodedConversation[] mixed = [.. Enumerable.Range(0, 12).Select(i => Encode($"{i % 3} {new string('p', 100)}", i))];
        SameAsWhole(mixed);
        long prompt = mixed[0].PromptPosition + 1;
        cache.TokensSaved.ShouldBe(3 * 3 * prompt, "each prompt was read for its first response");
        SameAsWhole([Encode($"1 {new string('p', 100)}", 99)]);
        cache.TokensSaved.ShouldBe(3 * 3 * prompt, "one short prompt is not worth a pass of its own, though it is kept");

        EncodedConversation[] longer = [.. Enumerable.Range(0, 4).Select(i => Encode(new string('q', 300), i))];
        foreach (EncodedConversation one in longer) SameAsWhole([one]); // as trainers ask: one after the other
        cache.TokensSaved.ShouldBe((3 * 3 * prompt) + (2 * (longer[0].PromptPosition + 1)),
            "seen at the first, read at the second, there at the third and fourth");
        SameAsWhole([Encode("short", 1), .. longer, Encode("short", 2)]);

        EncodedConversation Encode(string prompt, int response) =>
            tokenizer.Encode(Conversation.Create(prompt, new string((char)('a' + response % 26), 1 + 11 * response % 70), "here"));

        void SameAsWhole(EncodedConversation[] conversations)
        {
            ConversationFeatures[] found = cache.Extract(conversations, TestContext.Current.CancellationToken),
                expected = extractor.Extract(conversations, cancel: TestContext.Current.CancellationToken);
            for (int i = 0; i < found.Length; i++)
            {
                found[i].Embedding.Zip(expected[i].Embedding, (a, b) => Math.Abs(a - b)).Max().ShouldBeLessThan(tolerance);
                found[i].PromptEmbedding.Zip(expected[i].PromptEmbedding, (a, b) => Math.Abs(a - b)).Max().ShouldBeLessThan(tolerance);
            }
        }
    }

    [Fact]
    public void What_is_kept_stays_within_its_bound()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        ChatTokenizer tokenizer = ChatTokenizer.Load(folder.File("tokenizer.json"));
        using FeatureExtractor extractor = new(folder.Path, ScalarType.Float32, CPU);
        using PromptCache cache = new(extractor, mostBytes: 3 * 300 * 2 * 2 * 2 * 4 * sizeof(float)); // three prompts and no fourth
        for (int round = 0; round < 2; round++)
            foreach (char c in "abcd") cache.Extract([Encode(c, 1), Encode(c, 2)], TestContext.Current.CancellationToken);
        long prompt = Encode('a', 1).PromptPosition + 1;
        cache.TokensSaved.ShouldBe(8 * prompt, "of four in turn, the one that comes next has always just gone");
        cache.Extract([Encode('d', 3)], TestContext.Current.CancellationToken);
        cache.TokensSaved.ShouldBe(9 * prompt);

        EncodedConversation Encode(char prompt, int response) =>
            tokenizer.Encode(Conversation.Create(new string(prompt, 280), $"{response}", "here"));
    }
}
