using System.Globalization;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// Features of preference pairs with each distinct conversation extracted once and batched by length, against the reference's
/// way: both sides of every pair, one conversation at a time. Limit: the products of the distinct tokens at this machine's rate.
/// </summary>
internal static class FeaturesBench
{
    private const int MostPairs = 400;

    public static void Run(string backbone, string pairs)
    {
        ChatTokenizer tokenizer = Backbones.Tokenizer(backbone);
        List<EncodedConversation> sides = [];
        foreach (SourceRow row in RowReader.Read(pairs, pairs).Take(MostPairs).ToBlockingEnumerable())
        {
            PreferencePair pair = PairFormats.Pair(row);
            sides.Add(tokenizer.Encode(pair.Chosen));
            sides.Add(tokenizer.Encode(pair.Rejected));
        }
        EncodedConversation[] distinct = [.. sides.DistinctBy(s => s.Id)];
        BackboneConfig config = Backbones.Config(backbone);
        using FeatureExtractor extractor = new(backbone, ScalarType.Float32, CPU);
        double ours = Measure.Seconds(() => extractor.Extract(distinct));
        double peer = Measure.Seconds(() =>
        {
            foreach (EncodedConversation side in sides) extractor.Extract([side]);
        }, 1);
        long tokens = distinct.Sum(c => (long)c.Tokens.Length);
        long perToken = config.Parameters - (long)config.VocabSize * config.HiddenSize;
        double limit = 2.0 * perToken * tokens / Measure.MatrixProductFlops(ScalarType.Float32);
        Measure.Print(string.Create(CultureInfo.InvariantCulture,
            $"features: {sides.Count / 2:N0} pairs, {distinct.Length:N0} distinct conversations, {tokens:N0} tokens, "
                + $"{config.Parameters:N0} parameters, float32"),
            ours, peer, limit, "s");
    }
}
