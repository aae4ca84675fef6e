using System.Diagnostics;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using TorchSharp;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// Where the time of an extraction goes. Products and attention are done again by themselves with the shapes of each batch; what is left
/// of the pass is norms, rotations, activations, sums, conversion of weights, and threads that wait. Tokenizing and writing come before
/// and after the pass. Rounds are interleaved; figures are medians.
/// </summary>
internal sealed class FeaturesProfile(string folder, BenchCheckpoint shape, List<Conversation> conversations)
{
    private const int Rounds = 3;

    /// <summary>What is measured, and the seconds that it took in each round.</summary>
    private sealed record Part(string Name, Action Work)
    {
        public List<double> Found { get; } = [];

        public double Median => Found.Order().ElementAt(Found.Count / 2);
    }

    /// <summary>Measures and prints.</summary>
    /// <param name="type">The type to compute in.</param>
    public void Print(ScalarType type)
    {
        using FeatureExtractor extractor = new(folder, type, CPU);
        ChatTokenizer tokenizer = Backbones.Tokenizer(folder);
        EncodedConversation[] encoded = [.. conversations.Select(c => tokenizer.Encode(c))];
        FeatureBatch[] batches =
            [.. FeatureBatch.Of(encoded, Enumerable.Range(0, encoded.Length), extractor.SharesPrompts, () => extractor.TokensPerBatch)];
        using LayerProducts layers = ComputeThread.Run(() => new LayerProducts(shape, type, batches.Max(batch => batch.Tokens)));
        ConversationFeatures[] features = [];
        Part pass = new("forward pass", () => features = extractor.Extract(encoded)),
            products = new("products", () => Products(layers, batches)),
            attention = new("attention", () => Attention(batches, type)),
            tokens = new("tokenizing", () => encoded = [.. conversations.Select(c => tokenizer.Encode(c))]),
            writing = new("writing", () => Write(features));
        for (int round = 0; round <= Rounds; round++)
        {
            foreach (Part part in new[] { pass, products, attention, tokens, writing })
            {
                double seconds = ComputeThread.Run(() => Seconds(part.Work));
                if (round > 0) part.Found.Add(seconds); // the first round warms up
            }
        }
        double all = pass.Median + tokens.Median + writing.Median, rest = pass.Median - products.Median - attention.Median;
        Console.WriteLine($"  profile, {type}: {batches.Length} batches, {all:f2} s");
        foreach (Part part in new[] { products, attention }) Line(part.Name, part.Median);
        Line("rest of the pass", rest);
        foreach (Part part in new[] { tokens, writing }) Line(part.Name, part.Median);

        void Line(string name, double seconds) => Console.WriteLine($"    {name,-18} {seconds,8:f3} s   {seconds / all,6:p1}");
    }

    private static double Seconds(Action work)
    {
        long start = Stopwatch.GetTimestamp();
        work();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static void Products(LayerProducts layers, FeatureBatch[] batches)
    {
        foreach (FeatureBatch batch in batches) layers.Run(batch.Tokens, batch.Texts.Sum(text => (long)text.ReadAt.Length));
    }

    private void Attention(FeatureBatch[] batches, ScalarType type)
    {
        DecoderConfig config = (DecoderConfig)Backbones.Config(folder);
        foreach (FeatureBatch batch in batches)
        {
            using DisposeScope scope = NewDisposeScope();
            PackedTexts texts = new(batch.Texts, config, type, CPU);
            PackedAttention attention = new(config, type, texts, 1 << 22);
            Tensor q = Heads(texts.Tokens.shape[0], BenchCheckpoint.Heads), k = Heads(q.shape[0], BenchCheckpoint.KeyValueHeads);
            Tensor read = q.index_select(0, texts.ReadRows);
            for (int layer = 0; layer < shape.Layers - 1; layer++) attention.OfAll(layer, q, k, k).Dispose();
            attention.OfReads(shape.Layers - 1, read, k, k).Dispose();
        }

        Tensor Heads(long rows, int heads) => randn([rows, heads, BenchCheckpoint.HeadSize]).to(type);
    }

    /// <summary>As a shard is written.</summary>
    private void Write(ConversationFeatures[] features)
    {
        using Tensor rows = tensor([.. features.SelectMany(f => f.Embedding)], [features.Length, BenchCheckpoint.Hidden]);
        SafetensorsFile.Write(Path.Combine(folder, "features.safetensors"), [("embeddings", rows)]);
    }
}
