using System.Text.Json;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using Shouldly;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

public class FeatureTests
{
    private const double ReferenceTolerance = 1e-4; // float32 against a float64 reference, relative to the largest value
    private const double BatchTolerance = 1e-5;     // summation order in a batched product
    private const double BFloat16Cosine = 0.999;

    [Theory]
    [InlineData("tiny-llama")]
    [InlineData("tiny-llama-rope-scaled")]
    public void Hidden_states_agree_with_the_reference(string backbone)
    {
        string folder = SharedData.Require(backbone);
        using SafetensorsFile reference = new(Path.Combine(folder, "reference-hidden.safetensors"));
        using IBackbone model = Backbones.Load(folder, ScalarType.Float32, CPU);
        string[] names = [.. reference.Entries.Keys.Where(n => n.StartsWith("ids.", StringComparison.Ordinal))];
        names.ShouldNotBeEmpty();
        foreach (string name in names)
        {
            using Tensor ids = reference.Load(name).to(ScalarType.Int64).reshape(1, -1);
            using Tensor expected = reference.Load(name.Replace("ids", "hidden", StringComparison.Ordinal)).to(ScalarType.Float64);
            using Tensor positions = arange(ids.shape[1]).unsqueeze(0);
            using Tensor actual = model.Forward(ids, positions).to(ScalarType.Float64).reshape(expected.shape);
            double error = (actual - expected).abs().max().item<double>() / expected.abs().max().item<double>();
            error.ShouldBeLessThan(ReferenceTolerance, name);
        }
    }

    [Theory]
    [InlineData("tiny-llama")]
    [InlineData("tiny-llama-rope-scaled")]
    public void Features_of_conversations_agree_with_the_reference(string backbone)
    {
        string folder = SharedData.Require(backbone);
        using SafetensorsFile reference = new(Path.Combine(folder, "reference-features.safetensors"));
        ConversationFeatures[] features = Extract(folder, Conversations(folder), ScalarType.Float32);
        RelativeError(reference.LoadFloats("embeddings"), [.. features.SelectMany(f => f.Embedding)]).ShouldBeLessThan(ReferenceTolerance);
        RelativeError(reference.LoadFloats(
            "prompt_embeddings"), [.. features.SelectMany(f => f.PromptEmbedding)]).ShouldBeLessThan(ReferenceTolerance);
    }

    [Theory]
    [InlineData("tiny-llama")]
    [InlineData("tiny-llama-rope-scaled")]
    public void Neither_batch_nor_order_changes_a_feature(string backbone)
    {
        string folder = SharedData.Require(backbone);
        List<Conversation> conversations = Conversations(folder);
        ConversationFeatures[] together = Extract(folder, conversations, ScalarType.Float32);
        ConversationFeatures[] reversed = Extract(folder, [.. conversations.AsEnumerable().Reverse()], ScalarType.Float32);
        for (int i = 0; i < conversations.Count; i++)
        {
            ConversationFeatures alone = Extract(folder, [conversations[i]], ScalarType.Float32)[0];
            RelativeError(alone.Embedding, together[i].Embedding).ShouldBeLessThan(BatchTolerance);
            RelativeError(alone.PromptEmbedding, together[i].PromptEmbedding).ShouldBeLessThan(BatchTolerance);
            RelativeError(alone.Embedding, reversed[^(i + 1)].Embedding).ShouldBeLessThan(BatchTolerance);
        }
    }

    [Theory]
    [InlineData("tiny-llama")]
    [InlineData("tiny-llama-rope-scaled")]
    public void Bfloat16_points_the_same_way(string backbone)
    {
        string folder = SharedData.Require(backbone);
        List<Conversation> conversations = Conversations(folder);
        ConversationFeatures[] single = Extract(folder, conversations, ScalarType.Float32),
            half = Extract(folder, conversations, ScalarType.BFloat16);
        for (int i = 0; i < single.Length; i++)
        {
            Cosine(single[i].Embedding, half[i].Embedding).ShouldBeGreaterThan(BFloat16Cosine);
            Cosine(single[i].PromptEmbedding, half[i].PromptEmbedding).ShouldBeGreaterThan(BFloat16Cosine);
        }
    }

    internal static List<Conversation> Conversations(string folder) => [.. File.ReadLines(Path.Combine(folder, "conversations.jsonl"))
        .Select((line, i) =>
        {
            JsonElement root = JsonElement.Parse(line);
            JsonElement messages = root.ValueKind == JsonValueKind.Array ? root : root.GetProperty("messages");
            return Conversation.Create(messages.EnumerateArray()
                .Select(m => new Message(m.GetProperty("role").GetString()!, m.GetProperty("content").GetString()!)), $"line {i + 1}");
        })];

    private static ConversationFeatures[] Extract(string folder, List<Conversation> conversations, ScalarType type)
    {
        ChatTokenizer tokenizer = ChatTokenizer.Load(Path.Combine(folder, "tokenizer.json")).RequireTemplateTokens();
        using FeatureExtractor extractor = new(folder, type, CPU);
        return extractor.Extract([.. conversations.Select(c => tokenizer.Encode(c))]);
    }

    private static double RelativeError(float[] expected, float[] actual)
    {
        actual.Length.ShouldBe(expected.Length);
        return expected.Zip(actual, (e, a) => Math.Abs((double)e - a)).Max() / expected.Max(e => Math.Abs((double)e));
    }

    private static double Cosine(float[] a, float[] b) =>
        a.Zip(b, (x, y) => (double)x * y).Sum() / Math.Sqrt(a.Sum(x => (double)x * x) * b.Sum(x => (double)x * x));
}
