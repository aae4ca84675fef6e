using System.Globalization;
using ArmoFlow.Cli.Sample;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Text;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// What a trainer's sampling costs: several responses of each prompt, in one request and one after the other, with prompts kept
/// against each response read with its prompt. Limit: the products of the tokens that differ, at this machine's rate.
/// </summary>
internal static class PromptBench
{
    private const int Prompts = 8, ResponsesEach = 8, PromptWords = 400, ResponseWords = 60, Hidden = 480, Layers = 8;

    public static void Run()
    {
        string folder = Directory.CreateTempSubdirectory("armoflow-prompts-").FullName;
        try
        {
            SampleBackbone.Write(folder, Hidden, Layers);
            ChatTokenizer tokenizer = Backbones.Tokenizer(folder);
            string[] words = [.. Words.All.Distinct()];
            EncodedConversation[] asked = [.. Enumerable.Range(0, Prompts * ResponsesEach)
                .Select(i => tokenizer.Encode(Conversation.Create(Text(i / ResponsesEach, PromptWords), Text(1000 + i, ResponseWords),
                    "bench")))];
            using FeatureExtractor extractor = new(folder, ScalarType.Float32, CPU);
            BackboneConfig config = Backbones.Config(folder);
            long all = asked.Sum(c => (long)c.Tokens.Length),
                distinct = asked.Sum(c => (long)c.Tokens.Length - c.PromptPosition - 1)
                    + asked.DistinctBy(c => c.PromptId).Sum(c => (long)c.PromptPosition + 1);
            double limit =
                2.0 * (config.Parameters - (long)config.VocabSize * config.HiddenSize) * distinct / Measure.MatrixProductFlops(
                    ScalarType.Float32);
            string size = string.Create(CultureInfo.InvariantCulture,
                $"{Prompts} prompts, {ResponsesEach} responses of each, {all:N0} tokens of which {distinct:N0} differ, "
                    + $"{config.Parameters:N0} parameters, float32");
            Measure.Print($"in one request: {size}", Measure.Seconds(() => Cached(cache => cache.Extract(asked))),
                Measure.Seconds(() => extractor.Extract(asked)), limit, "s");
            Measure.Print($"one after the other: {size}",
                Measure.Seconds(() => Cached(cache => { foreach (EncodedConversation one in asked) cache.Extract([one]); })),
                Measure.Seconds(() => { foreach (EncodedConversation one in asked) extractor.Extract([one]); }), limit, "s");

            string Text(int seed, int count) => string.Join(' ', Enumerable.Range(0, count).Select(w => Word(seed, w)));
            string Word(int seed, int w) => words[(int)(CounterRandom.Uniform((ulong)seed, 0, (ulong)w) * words.Length)];

            void Cached(Action<PromptCache> work)
            {
                using PromptCache cache = new(extractor); // it knows no prompt yet
                work(cache);
            }
        }
        finally { Directory.Delete(folder, recursive: true); }
    }
}
