namespace ArmoFlow.RewardModel.Tests;

/// <summary>
/// A decoder-only model written out in double precision, token by token, as its papers have it. It shares nothing with ours but the
/// names of tensors in a checkpoint.
/// </summary>
internal sealed record PlainDecoder
{
    public required IReadOnlyDictionary<string, double[]> Weights { get; init; }

    public required int Dimension { get; init; }

    public required int Layers { get; init; }

    public int Heads { get; init; } = 4;

    public int KeyValueHeads { get; init; } = 2;

    public int HeadSize { get; init; } = 4;

    public int Width { get; init; } = 24;

    public double Epsilon { get; init; } = 1e-6;

    public double Scale { get; init; } = 0.5;

    public double EmbeddingScale { get; init; } = 1;

    /// <summary>θ by layer.</summary>
    public Func<int, double> Theta { get; init; } = _ => 10000;

    /// <summary>Tokens that one sees, itself among them, by layer.</summary>
    public Func<int, int> Window { get; init; } = _ => int.MaxValue;

    public double? Cap { get; init; }

    /// <summary>What is added to a norm's weight.</summary>
    public double NormOffset { get; init; }

    public Func<double, double> Activation { get; init; } = x => x / (1 + Math.Exp(-x));

    /// <summary>Hidden states of all tokens, after the last norm.</summary>
    public double[][] Run(int[] tokens)
    {
        double[] table = Weights["model.embed_tokens.weight"];
        double[][] x = [.. tokens.Select(t => Row(table, t, Dimension).Select(v => v * EmbeddingScale).ToArray())];
        for (int layer = 0; layer < Layers; layer++) x = Block(layer, x);
        return [.. x.Select(v => Norm(v, "model.norm.weight"))];
    }

    private double[][] Block(int layer, double[][] x)
    {
        string at = $"model.layers.{layer}.";
        bool isSandwich = Weights.ContainsKey(at + "pre_feedforward_layernorm.weight");
        bool hasFirst = Weights.ContainsKey(at + "input_layernorm.weight");
        double[][] attended = Attention(layer, at, [.. x.Select(v => hasFirst ? Norm(v, at + "input_layernorm.weight") : v)]);
        return [.. x.Zip(attended, (before, mixed) =>
        {
            bool normsOutput = isSandwich || !hasFirst;
            double[] after = Sum(before, normsOutput ? Norm(mixed, at + "post_attention_layernorm.weight") : mixed);
            string? inner = isSandwich ? "pre_feedforward_layernorm.weight" : hasFirst ? "post_attention_layernorm.weight" : null;
            double[] fed = FeedForward(at, inner is null ? after : Norm(after, at + inner));
            return Sum(after, normsOutput ? Norm(fed, at + "post_feedforward_layernorm.weight") : fed);
        })];
    }

    private double[] FeedForward(string at, double[] x)
    {
        bool isFused = Weights.ContainsKey(at + "mlp.gate_up_proj.weight");
        double[] both = isFused ? Project(at + "mlp.gate_up_proj", x)
            : [.. Project(at + "mlp.gate_proj", x), .. Project(at + "mlp.up_proj", x)];
        return Project(at + "mlp.down_proj", [.. both[..Width].Zip(both[Width..], (gate, up) => Activation(gate) * up)]);
    }

    private double[][] Attention(int layer, string at, double[][] x)
    {
        int q = Heads * HeadSize, kv = KeyValueHeads * HeadSize;
        double[][] all = [.. x.Select(v => Weights.ContainsKey(at + "self_attn.qkv_proj.weight") ? Project(at + "self_attn.qkv_proj", v)
            : [.. Project(at + "self_attn.q_proj", v), .. Project(at + "self_attn.k_proj", v), .. Project(at + "self_attn.v_proj", v)])];
        double[][] queries = [.. all.Select((v, t) => Turned(HeadNormed(v[..q], at + "self_attn.q_norm.weight"), t, layer))],
            keys = [.. all.Select((v, t) => Turned(HeadNormed(v[q..(q + kv)], at + "self_attn.k_norm.weight"), t, layer))];
        return [.. x.Select((_, t) => Project(at + "self_attn.o_proj", Mixed(t)))];

        double[] Mixed(int t)
        {
            double[] mixed = new double[q];
            int first = (int)Math.Max(0, (long)t - Window(layer) + 1);
            for (int h = 0; h < Heads; h++)
            {
                int from = h / (Heads / KeyValueHeads) * HeadSize;
                double[] weights = Softmax([.. Enumerable.Range(first, t + 1 - first).Select(s => Score(h, from, t, s))]);
                for (int i = 0; i < HeadSize; i++)
                    mixed[(h * HeadSize) + i] = weights.Select((w, s) => w * all[first + s][q + kv + from + i]).Sum();
            }
            return mixed;
        }

        double Score(int h, int from, int t, int s)
        {
            double score = Enumerable.Range(0, HeadSize).Sum(i => queries[t][(h * HeadSize) + i] * keys[s][from + i]) * Scale;
            return Cap is { } cap ? cap * Math.Tanh(score / cap) : score;
        }
    }

    /// <summary>A norm as long as a head is each head's; one as long as all heads is theirs together.</summary>
    private double[] HeadNormed(double[] x, string name)
    {
        if (!Weights.TryGetValue(name, out double[]? weight)) return x;
        return [.. x.Chunk(weight.Length).SelectMany(part => Norm(part, name))];
    }

    private double[] Turned(double[] x, int position, int layer)
    {
        double[] turned = new double[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            int within = i % HeadSize, half = HeadSize / 2;
            double angle = position * Math.Pow(Theta(layer), -2.0 * (within % half) / HeadSize);
            double other = within < half ? -x[i + half] : x[i - half];
            turned[i] = (x[i] * Math.Cos(angle)) + (other * Math.Sin(angle));
        }
        return turned;
    }

    private double[] Norm(double[] x, string name)
    {
        double scale = 1 / Math.Sqrt(x.Average(v => v * v) + Epsilon);
        return [.. x.Zip(Weights[name], (v, g) => v * scale * (NormOffset + g))];
    }

    private double[] Project(string name, double[] x)
    {
        double[] weight = Weights[name + ".weight"];
        double[]? bias = Weights.GetValueOrDefault(name + ".bias");
        return [.. Enumerable.Range(0, weight.Length / x.Length)
            .Select(r => Row(weight, r, x.Length).Zip(x, (a, b) => a * b).Sum() + (bias?[r] ?? 0))];
    }

    private static double[] Row(double[] matrix, int row, int columns) => matrix[(row * columns)..((row + 1) * columns)];

    private static double[] Sum(double[] a, double[] b) => [.. a.Zip(b, (x, y) => x + y)];

    private static double[] Softmax(double[] x)
    {
        double[] e = [.. x.Select(v => Math.Exp(v - x.Max()))];
        return [.. e.Select(v => v / e.Sum())];
    }
}
