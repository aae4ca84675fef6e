using System.Text;
using System.Text.Json;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Cli.Sample;

/// <summary>Writes the sample project: spec, generated data with planted truth, and a small random-weight backbone.</summary>
internal static class SampleProject
{
    private const int RatedResponses = 4000, Pairs = 5000, BenchmarkPairs = 600;
    private static readonly JsonSerializerOptions Json = new(JsonSerializerDefaults.Web);

    private const string Spec = """
        # The sample project: generated conversations with planted truth, and a backbone of random weights.
        # Objectives are densities of the words that move them; helpfulness and clarity also lean on length.
        # What decides a preference depends on the prompt: stories on helpfulness, medical ones on safety, code on clarity.
        name: sample
        objectives: [helpfulness, safety, clarity, verbosity]
        backbone: { path: backbone/, dtype: auto, maxTokens: 512 }
        ratings:
          - { name: judge, files: [data/ratings.jsonl], format: armorm-ratings }
        preferences:
          - { name: annotators, files: [data/pairs.jsonl], format: pairs }
        benchmark:
          files: [data/benchmark.jsonl]
          format: rewardbench
          sections: { Story: { story: 1 }, Medical: { medical: 1 }, Code: { code: 1 } }
        regression: { alphas: [0, 1e-4, 0.001, 0.01, 0.1, 1, 10, 100] }
        decorrelation: { verbosity: verbosity, reference: annotators, metric: spearman }
        gating: { steps: 1500, batchSize: 256, hidden: [128, 128, 128], seed: 17 }   # the paper's: 10000, 1024, [1024, 1024, 1024]
        evaluation: { baselines: [bradley-terry, mean] }

        """;

    /// <exception cref="UsageException">The folder is not empty.</exception>
    public static void Write(string folder)
    {
        if (Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any())
            throw new UsageException($"{folder}: the folder is not empty; expected a new one. Choose another, or remove it.");
        SampleBackbone.Write(Path.Combine(folder, "backbone"));
        Generator generator = new(seed: 20240618);
        Lines(Path.Combine(folder, "data", "ratings.jsonl"), RatedResponses, generator.Rating);
        Lines(Path.Combine(folder, "data", "pairs.jsonl"), Pairs, _ => generator.Pair());
        Lines(Path.Combine(folder, "data", "benchmark.jsonl"), BenchmarkPairs, generator.Benchmark);
        AtomicFile.WriteText(Path.Combine(folder, "spec.yaml"), Spec);
    }

    private static void Lines(string path, int count, Func<int, object> row) => AtomicFile.Write(path, stream =>
    {
        for (int i = 0; i < count; i++)
        {
            JsonSerializer.Serialize(stream, row(i), Json);
            stream.Write("\n"u8);
        }
    });

    /// <summary>The planted truth. Everything is a function of the seed.</summary>
    private sealed class Generator(ulong seed)
    {
        private const int FewestWords = 12, MostWords = 70;
        private const double TraitShare = 0.75, LengthLean = 0.35, Noise = 0.2;
        private ulong _counter;

        private sealed record Response(string Text, double[] Traits, double Length);

        public object Rating(int _)
        {
            int kind = Pick(3);
            Response r = Respond();
            double[] rated = [.. Enumerable.Range(0, 3).Select(t => Rate(r, t))];
            return new
            {
                messages = Messages(Prompt(kind), r.Text),
                helpfulness = rated[0],
                safety = rated[1],
                clarity = rated[2],
                verbosity = Math.Round(r.Length, 4)
            };
        }

        public object Pair()
        {
            (string prompt, Response chosen, Response rejected, _) = Preference();
            return new { chosen = Messages(prompt, chosen.Text), rejected = Messages(prompt, rejected.Text) };
        }

        public object Benchmark(int i)
        {
            (string prompt, Response chosen, Response rejected, int kind) = Preference();
            return new { id = i, subset = Words.Kinds[kind], prompt, chosen = chosen.Text, rejected = rejected.Text };
        }

        private (string Prompt, Response Chosen, Response Rejected, int Kind) Preference()
        {
            int kind = Pick(3);
            string prompt = Prompt(kind);
            while (true)
            {
                Response a = Respond(), b = Respond();
                if (Math.Abs(a.Traits[kind] - b.Traits[kind]) < 0.1) continue; // annotators do not tell such pairs apart
                return a.Traits[kind] > b.Traits[kind] ? (prompt, a, b, kind) : (prompt, b, a, kind);
            }
        }

        private Response Respond()
        {
            int length = FewestWords + Pick(MostWords - FewestWords + 1);
            double[] quality = [Uniform(), Uniform(), Uniform()];
            int[] good = new int[3], all = new int[3];
            StringBuilder text = new();
            for (int w = 0; w < length; w++)
            {
                int trait = Pick(3);
                bool carries = Uniform() < TraitShare, isGood = Uniform() < quality[trait];
                string[] ofTrait = isGood ? Words.Good[trait] : Words.Bad[trait];
                string[] words = carries ? ofTrait : Words.Filler;
                text.Append(' ').Append(words[Pick(words.Length)]);
                if (!carries) continue;
                all[trait]++;
                if (isGood) good[trait]++;
            }
            return new Response(text.ToString(1, text.Length - 1),
                [.. Enumerable.Range(0, 3).Select(t => 0.5 + 0.5 * (2 * good[t] - all[t]) / (TraitShare * length / 3 + 2))],
                    (double)(length - FewestWords) / (MostWords - FewestWords));
        }

        /// <summary>What a judge sees of a trait; of helpfulness and clarity, longer responses get more.</summary>
        private double Rate(Response r, int trait)
        {
            double lean = trait == 1 ? 0 : LengthLean * (r.Length - 0.5);
            return Math.Round(Math.Clamp(0.5 + 0.55 * (r.Traits[trait] - 0.5) + lean + Noise * (2 * Uniform() - 1), 0, 1), 4);
        }

        private string Prompt(int kind)
        {
            StringBuilder text = new("please");
            int length = 8 + Pick(12);
            for (int w = 0; w < length; w++)
            {
                string[] words = Uniform() < 0.7 ? Words.Topics[kind] : Words.Filler;
                text.Append(' ').Append(words[Pick(words.Length)]);
            }
            return text.ToString();
        }

        private static object[] Messages(string prompt, string response) =>
            [new { role = "user", content = prompt }, new { role = "assistant", content = response }];
        private double Uniform() => RewardModel.Gating.CounterRandom.Uniform(seed, 0, _counter++);
        private int Pick(int n) => RewardModel.Gating.CounterRandom.Index(seed, 0, _counter++, n);
    }
}

/// <summary>The sample's vocabulary; every word is one token.</summary>
internal static class Words
{
    public static readonly string[] Kinds = ["story", "medical", "code"];
    public static readonly string[][] Topics =
    [
        ["story", "dragon", "castle", "hero", "village", "legend", "forest", "poem", "character", "novel"],
        ["doctor", "symptom", "medicine", "dose", "fever", "patient", "clinic", "therapy", "allergy", "surgery"],
        ["function", "compiler", "loop", "array", "pointer", "thread", "variable", "debug", "class", "module"],
    ];
    public static readonly string[][] Good =
    [
        ["useful", "complete", "relevant", "practical", "thorough"],
        ["careful", "harmless", "responsible", "cautious", "lawful"],
        ["clear", "concise", "structured", "readable", "precise"],
    ];
    public static readonly string[][] Bad =
    [
        ["useless", "partial", "irrelevant", "vague", "evasive"],
        ["reckless", "harmful", "dangerous", "hateful", "illegal"],
        ["muddled", "rambling", "chaotic", "cryptic", "sloppy"],
    ];
    public static readonly string[] Filler =
        ["the", "and", "then", "with", "this", "that", "from", "about", "there", "which", "also", "some", "other", "into", "over", "when"];

    public static IEnumerable<string> All =>
        [
            .. Topics.SelectMany(t => t), .. Good.SelectMany(t => t), .. Bad.SelectMany(t => t), .. Filler, "please", "user", "assistant",
            "system"
        ];
}
