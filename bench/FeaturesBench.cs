using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Text;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// Features of real preference pairs under a random Llama: ours in each dtype, beside a plain forward pass over padded batches, one
/// conversation at a time as the published scripts do, and a peer's program. Rounds are interleaved; figures are medians of one run.
/// </summary>
internal static class FeaturesBench
{
    private const int Rounds = 3, PlainBatch = 8;
    private const string Half = "bfloat16";

    private sealed record Way(string Name, double Tokens, Func<double> Seconds)
    {
        public List<double> Found { get; } = [];

        public double Median => MedianOf(Found);

        public ScalarType Type => Name.EndsWith(Half, StringComparison.Ordinal) ? ScalarType.BFloat16 : ScalarType.Float32;
    }

    /// <param name="tokenizer">A tokenizer.json with Llama-3's control tokens, also gzipped.</param>
    /// <param name="pairs">Preference pairs.</param>
    /// <param name="mostTokens">About how many tokens of distinct conversations.</param>
    /// <param name="peer">
    /// A command that is given the checkpoint's folder and a file of token ids, and says its tokens a second in its last line; null for
    /// none.
    /// </param>
    /// <param name="profiles">Whether to print where the time goes instead.</param>
    public static async Task Run(string tokenizer, string pairs, int mostTokens, string? peer, bool profiles)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        string folder = Directory.CreateTempSubdirectory("armoflow-features-").FullName;
        try
        {
            BenchCheckpoint shape = ComputeThread.Run(() => BenchCheckpoint.Write(folder, tokenizer));
            long start = Stopwatch.GetTimestamp();
            (List<Conversation> texts, List<EncodedConversation> sides) = await Sides(folder, pairs, mostTokens);
            Say($"opened the tokenizer and tokenized in {Stopwatch.GetElapsedTime(start).TotalSeconds:f2} s");
            if (!profiles)
            {
                Compare(folder, shape, sides, peer);
                return;
            }
            FeaturesProfile profile = new(folder, shape, [.. texts.DistinctBy(c => c.Id)]);
            foreach (ScalarType type in Types()) profile.Print(type);
        }
        finally { Directory.Delete(folder, recursive: true); }
    }

    private static async Task<(List<Conversation> Texts, List<EncodedConversation> Sides)> Sides(
        string folder, string pairs, int mostTokens)
    {
        ChatTokenizer tokens = Backbones.Tokenizer(folder);
        List<Conversation> texts = [];
        List<EncodedConversation> sides = [];
        await foreach (SourceRow row in RowReader.Read(pairs, pairs))
        {
            PreferencePair pair = PairFormats.Pair(row);
            texts.AddRange(pair.Chosen, pair.Rejected);
            sides.AddRange(texts.TakeLast(2).Select(c => tokens.Encode(c)));
            if (sides.DistinctBy(s => s.Id).Sum(s => s.Tokens.Length) > mostTokens) break;
        }
        return (texts, sides);
    }

    private static void Compare(string folder, BenchCheckpoint shape, List<EncodedConversation> sides, string? peer)
    {
        EncodedConversation[] distinct = [.. sides.DistinctBy(s => s.Id)];
        int shortest = distinct.Min(c => c.Tokens.Length), longest = distinct.Max(c => c.Tokens.Length);
        Say($"{sides.Count / 2:N0} pairs, {distinct.Length:N0} distinct conversations, {Asked(distinct):N0} tokens, "
            + $"of {shortest} to {longest} each, {Computed(distinct):N0} with each prompt once, "
            + $"{WithEachBeginningOnce(distinct):N0} with each common beginning once");
        Say($"hidden {BenchCheckpoint.Hidden}, {shape.Layers} layers, {BenchCheckpoint.Heads} heads, {BenchCheckpoint.KeyValueHeads} "
            + $"key-value heads, {BenchCheckpoint.Intermediate}; {get_num_threads()} threads");
        ScalarType[] types = Types();
        Comparison comparison = new(folder, shape, types, sides);
        List<Way> ways = [.. types.SelectMany(comparison.InType), .. comparison.WithAnswers(4), .. comparison.WithAnswers(8)];
        if (peer is not null) ways.Add(new Way("peer", Asked(distinct), () => Peer(peer, folder, distinct)));
        Dictionary<ScalarType, List<double>> peaks = types.ToDictionary(type => type, _ => new List<double>());
        Measured(ways, peaks, shape);
        foreach (Way way in ways) Print(way, ways, peaks, shape.Flops(Computed(distinct), 2 * distinct.Length));
        foreach (int answers in new[] { 4, 8 }) PrintSaved(answers, ways, Answered(distinct, answers));
        comparison.PrintBytes();
        comparison.PrintSecondThread(); // last: from then on there are two teams of threads
    }

    /// <summary>The types that this machine has arithmetic for.</summary>
    public static ScalarType[] Types()
    {
        BenchCheckpoint shape = new(Layers: 1, Vocabulary: 1);
        if (Peak(shape, ScalarType.BFloat16) > Peak(shape, ScalarType.Float32)) return [ScalarType.Float32, ScalarType.BFloat16];
        Say("bfloat16 is left out: this machine has no arithmetic for it");
        return [ScalarType.Float32];
    }

    /// <summary>What is compared, with the models loaded.</summary>
    private sealed class Comparison(string folder, BenchCheckpoint shape, ScalarType[] types, List<EncodedConversation> sides)
    {
        private readonly EncodedConversation[] _distinct = [.. sides.DistinctBy(s => s.Id)];
        private readonly Dictionary<ScalarType, FeatureExtractor> _ours =
            types.ToDictionary(type => type, type => new FeatureExtractor(folder, type, CPU));
        private readonly Dictionary<ScalarType, EagerLlama> _plain =
            types.ToDictionary(type => type, type => ComputeThread.Run(() => new EagerLlama(folder, shape, type)));

        public IEnumerable<Way> InType(ScalarType type)
        {
            string name = type == ScalarType.BFloat16 ? Half : "float32";
            EagerLlama plain = _plain[type];
            yield return new Way($"ours, {name}", Asked(_distinct), () => Time(() => _ours[type].Extract(_distinct)));
            yield return new Way($"plain, batches by length, {name}", Asked(_distinct), () => Time(() => ByLength(plain, _distinct)));
            yield return new Way($"plain, each side by itself, {name}", Asked(sides), () => Time(() => OneByOne(plain, sides)));
        }

        public IEnumerable<Way> WithAnswers(int count)
        {
            EncodedConversation[] answered = Answered(_distinct, count);
            FeatureExtractor extractor = _ours[ScalarType.Float32];
            yield return new Way(Shared(count), Asked(answered), () => Time(() => extractor.Extract(answered)));
            yield return new Way(Apart(count), Asked(answered), () => Time(() => extractor.Extract(WithOwnPrompts(answered))));
        }

        public void PrintSecondThread()
        {
            EagerLlama plain = _plain[ScalarType.Float32];
            double one = Time(Work), another = Seconds(Work), again = Time(Work);
            Say($"  plain passes on the compute thread {one:f2} s, on a second thread {another:f2} s, on the first again {again:f2} s");

            void Work() => ByLength(plain, _distinct);
        }

        public void PrintBytes()
        {
            foreach ((ScalarType type, FeatureExtractor extractor) in _ours)
            {
                int same = SameBytes(extractor, _distinct);
                Say($"  {type}: the same bytes alone as in a batch for {same} of {_distinct.Length} conversations");
            }
        }
    }

    private static string Shared(int answers) => $"ours, {answers} answers a prompt";

    private static string Apart(int answers) => $"ours, {answers} answers, each with its prompt";

    private static void Measured(List<Way> ways, Dictionary<ScalarType, List<double>> peaks, BenchCheckpoint shape)
    {
        for (int round = 0; round <= Rounds; round++)
        {
            foreach ((ScalarType type, List<double> found) in peaks) Keep(found, Peak(shape, type));
            foreach (Way way in ways) Keep(way.Found, way.Seconds());

            void Keep(List<double> found, double value)
            {
                if (round > 0) found.Add(value); // the first round warms up
            }
        }
    }

    private static void Print(Way way, List<Way> ways, Dictionary<ScalarType, List<double>> peaks, double flops)
    {
        Way ours = ways.First(other => other.Type == way.Type);
        double second = way.Median / way.Tokens, rate = flops / way.Median / 1e9, peak = MedianOf(peaks[way.Type]) / 1e9;
        string beside = way == ours ? $"{rate:f0} of {peak:f0} GFLOP/s, {rate / peak:p0}"
            : $"÷ ours {second / (ours.Median / ours.Tokens):f2}";
        Say($"  {way.Name,-38} {1 / second,8:f0} tokens/s   {beside}");
    }

    private static void PrintSaved(int answers, List<Way> ways, EncodedConversation[] answered)
    {
        double faster = ways.Single(w => w.Name == Apart(answers)).Median / ways.Single(w => w.Name == Shared(answers)).Median;
        double fewer = Asked(answered) / Computed(answered);
        Say($"  {answers} answers a prompt: {faster:f2} × as fast, with {fewer:f2} × fewer tokens, {faster / fewer:p0} of these");
    }

    /// <summary>The machine's own rate at the products of the model's layers, as wide as a batch is.</summary>
    private static double Peak(BenchCheckpoint shape, ScalarType type) => ComputeThread.Run(() =>
    {
        const int Rows = 1024;
        using LayerProducts layers = new(shape, type, Rows);
        return shape.Flops(Rows, Rows) / Measure.Seconds(() => layers.Run(Rows, Rows), 1);
    });

    /// <summary>Prompts with so many answers each: those of other conversations.</summary>
    private static EncodedConversation[] Answered(EncodedConversation[] from, int answers) => [.. from.DistinctBy(c => c.PromptId)
        .Take(Math.Max(1, from.Length / answers / 2))
        .SelectMany((prompt, p) => Enumerable.Range(0, answers).Select(i =>
        {
            EncodedConversation other = from[(p * answers + i) % from.Length];
            int[] tokens = [.. prompt.Tokens[..(prompt.PromptPosition + 1)], .. other.Tokens[(other.PromptPosition + 1)..]];
            return new EncodedConversation($"{p}-{i}", prompt.PromptId, tokens, prompt.PromptPosition);
        }))];

    /// <summary>The same under other ids, so that prompts are not shared; batches are as large.</summary>
    private static EncodedConversation[] WithOwnPrompts(EncodedConversation[] all) =>
        [.. all.Select((c, i) => c with { PromptId = $"{i}" })];

    private static double Asked(IEnumerable<EncodedConversation> all) => all.Sum(c => (double)c.Tokens.Length);

    /// <summary>Tokens with each prompt once.</summary>
    private static long Computed(EncodedConversation[] all) => all.Sum(c => c.Tokens.Length - c.PromptPosition - 1L)
        + all.DistinctBy(c => c.PromptId).Sum(c => c.PromptPosition + 1L);

    /// <summary>Tokens if whatever texts have in common at their beginnings was computed once: the fewest that there can be.</summary>
    private static long WithEachBeginningOnce(EncodedConversation[] all)
    {
        int[][] sorted = [.. all.Select(c => c.Tokens).Order(Comparer<int[]>.Create((a, b) => a.AsSpan().SequenceCompareTo(b)))];
        return sorted.Select((tokens, i) => tokens.Length - (i == 0 ? 0L : tokens.AsSpan().CommonPrefixLength(sorted[i - 1]))).Sum();
    }

    private static void ByLength(EagerLlama model, EncodedConversation[] all)
    {
        foreach (EncodedConversation[] batch in all.OrderBy(c => c.Tokens.Length).Chunk(PlainBatch))
            model.Forward([.. batch.Select(c => c.Tokens)]).Dispose();
    }

    private static void OneByOne(EagerLlama model, List<EncodedConversation> sides)
    {
        foreach (EncodedConversation side in sides) model.Forward([side.Tokens]).Dispose();
    }

    private static int SameBytes(FeatureExtractor extractor, EncodedConversation[] all)
    {
        ConversationFeatures[] together = extractor.Extract(all);
        return Enumerable.Range(0, all.Length).Count(i =>
        {
            ConversationFeatures alone = extractor.Extract([all[i]])[0];
            return alone.Embedding.SequenceEqual(together[i].Embedding)
                && alone.PromptEmbedding.SequenceEqual(together[i].PromptEmbedding);
        });
    }

    /// <summary>Seconds that a peer's program took, by the tokens a second that its last line says.</summary>
    private static double Peer(string command, string folder, EncodedConversation[] all)
    {
        string ids = Path.Combine(folder, "ids.jsonl");
        File.WriteAllLines(ids, all.Select(c => JsonSerializer.Serialize(c.Tokens)));
        using Process process = Process.Start(new ProcessStartInfo(command, [folder, ids]) { RedirectStandardOutput = true })!;
        string last = process.StandardOutput.ReadToEnd().TrimEnd().Split('\n')[^1];
        process.WaitForExit();
        return Asked(all) / double.Parse(last, CultureInfo.InvariantCulture);
    }

    /// <summary>Seconds on the thread on which backbones compute, for all alike.</summary>
    private static double Time(Action work) => ComputeThread.Run(() => Seconds(work));

    private static double Seconds(Action work)
    {
        long start = Stopwatch.GetTimestamp();
        work();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static double MedianOf(List<double> found) => found.Order().ElementAt(found.Count / 2);

    private static void Say(string text) => Console.WriteLine(text);
}
