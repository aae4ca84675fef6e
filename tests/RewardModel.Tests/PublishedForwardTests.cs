using System.Text;
using System.Text.Json.Nodes;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using ArmoFlow.RewardModel.Text;
using Shouldly;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>
/// A random checkpoint of the released model's layout, scored by us and by the published forward pass: hidden states of a Llama,
/// rewards of the last token, a gate on the token that ends the prompt, softmax(gate / T) · scale · (r M). Here it is
/// written out in double precision, token by token, sharing nothing with ours but the file.
/// </summary>
public class PublishedForwardTests
{
    private const int Dimension = 16, Heads = 4, KeyValueHeads = 2, Layers = 2, Objectives = 5, Width = 8, HiddenLayers = 3;
    private const int BeginOfText = 256, StartHeader = 257, EndHeader = 258, EndOfTurn = 259;
    private const double Temperature = 1.3, Theta = 10000, Epsilon = 1e-5, Tolerance = 1e-5;

    [Theory]
    [InlineData(2u)]
    [InlineData(3u)]
    public void A_released_checkpoint_scores_as_its_published_forward_pass(uint seed)
    {
        using TemporaryFolder folder = new();
        Write(folder.Path, seed);
        Dictionary<string, (double[] Values, long[] Shape)> weights = Load(folder.Path);
        using ConversationScorer scorer = ReleasedLayout.Import(folder.Path);
        foreach ((string prompt, string response) in new[]
        {
            ("Why is the sky blue?", "Because air scatters short waves most."),
            ("Hi", "x"),
            ("  Write a poem.\n", "Roses are red, and so on for some more words than the others have.")
        })
        {
            Explanation ours = scorer.Score([Conversation.Create(prompt, response, "here")])[0];
            (double score, double[] rewards, double[] gate) = Published(weights, Template(prompt), Template(prompt, response));
            ours.Score.ShouldBe(score, Tolerance * Math.Max(1, Math.Abs(score)));
            for (int o = 0; o < Objectives; o++)
            {
                ours.Objectives[o].Reward.ShouldBe(rewards[o], Tolerance * Math.Max(1, Math.Abs(rewards[o])));
                ours.Objectives[o].Coefficient.ShouldBe(gate[o], Tolerance);
            }
        }
    }

    private static int[] Template(string prompt, string? response = null)
    {
        List<int> tokens = [BeginOfText, .. Turn("user", prompt)];
        return response is null ? [.. tokens] : [.. tokens, .. Turn("assistant", response)];

        // The tokenizer of the tiny checkpoint gives each byte its own value.
        static IEnumerable<int> Turn(string role, string text) =>
            [StartHeader, .. Bytes(role), EndHeader, .. Bytes("\n\n" + text.Trim()), EndOfTurn];
        static IEnumerable<int> Bytes(string text) => Encoding.UTF8.GetBytes(text).Select(b => (int)b);
    }

    private static (double Score, double[] Rewards, double[] Gate) Published(Dictionary<string, (double[] Values, long[] Shape)> w,
        int[] prompt, int[] tokens)
    {
        double[][] hidden = Llama(w, tokens);
        double[] rewards = Times(w["regression_layer.weight"], hidden[^1]), x = hidden[prompt.Length - 1];
        for (int layer = 0; layer <= HiddenLayers; layer++)
        {
            x = [.. Times(w[$"gating.layers.{layer}.weight"], x).Zip(w[$"gating.layers.{layer}.bias"].Values, (a, b) => a + b)];
            if (layer < HiddenLayers) x = [.. x.Select(v => Math.Max(0, v))];
        }
        double[] gate = Softmax([.. x.Select(v => v / Temperature)]), transform = w["reward_transform_matrix"].Values;
        double score = 0;
        for (int o = 0; o < Objectives; o++)
        {
            double adjusted = 0;
            for (int i = 0; i < Objectives; i++) adjusted += rewards[i] * transform[(i * Objectives) + o];
            score += gate[o] * w["gating.logit_scale"].Values[0] * adjusted;
        }
        return (score, rewards, gate);
    }

    private static double[][] Llama(Dictionary<string, (double[] Values, long[] Shape)> w, int[] tokens)
    {
        int size = Dimension / Heads, shared = Heads / KeyValueHeads;
        double[][] x = [.. tokens.Select(t => w["model.embed_tokens.weight"].Values[(t * Dimension)..((t + 1) * Dimension)])];
        for (int layer = 0; layer < Layers; layer++)
        {
            string at = $"model.layers.{layer}.";
            double[][] normed = [.. x.Select(v => Norm(v, w[at + "input_layernorm.weight"].Values))];
            double[][] q = [.. normed.Select((v, t) => Rotate(Times(w[at + "self_attn.q_proj.weight"], v), t, size))],
                k = [.. normed.Select((v, t) => Rotate(Times(w[at + "self_attn.k_proj.weight"], v), t, size))],
                values = [.. normed.Select(v => Times(w[at + "self_attn.v_proj.weight"], v))];
            for (int t = tokens.Length - 1; t >= 0; t--)
            {
                double[] mixed = new double[Dimension];
                for (int h = 0; h < Heads; h++)
                {
                    int kv = h / shared;
                    double[] attention = Softmax([.. Enumerable.Range(0, t + 1)
                        .Select(s => Enumerable.Range(0, size).Sum(i => q[t][(h * size) + i] * k[s][(kv * size) + i]) / Math.Sqrt(size))]);
                    for (int i = 0; i < size; i++)
                        mixed[(h * size) + i] = Enumerable.Range(0, t + 1).Sum(s => attention[s] * values[s][(kv * size) + i]);
                }
                x[t] = [.. x[t].Zip(Times(w[at + "self_attn.o_proj.weight"], mixed), (a, b) => a + b)];
                double[] n = Norm(x[t], w[at + "post_attention_layernorm.weight"].Values), gate = Times(w[at + "mlp.gate_proj.weight"], n),
                    up = Times(w[at + "mlp.up_proj.weight"], n);
                x[t] = [.. x[t].Zip(Times(w[at + "mlp.down_proj.weight"], [.. gate.Zip(up, (g, u) => g / (1 + Math.Exp(-g)) * u)]),
                    (a, b) => a + b)];
            }
        }
        return [.. x.Select(v => Norm(v, w["model.norm.weight"].Values))];
    }

    private static double[] Norm(double[] x, double[] weight)
    {
        double scale = 1 / Math.Sqrt(x.Average(v => v * v) + Epsilon);
        return [.. x.Zip(weight, (v, g) => v * scale * g)];
    }

    /// <summary>Rotary positions as Hugging Face has them: the first half of a head's dimensions with its second.</summary>
    private static double[] Rotate(double[] x, int position, int size)
    {
        double[] rotated = new double[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            int within = i % size, pair = within % (size / 2);
            double angle = position * Math.Pow(Theta, -2.0 * pair / size),
                other = within < size / 2 ? -x[i + (size / 2)] : x[i - (size / 2)];
            rotated[i] = (x[i] * Math.Cos(angle)) + (other * Math.Sin(angle));
        }
        return rotated;
    }

    private static double[] Times((double[] Values, long[] Shape) matrix, double[] x) =>
        [.. Enumerable.Range(0, (int)matrix.Shape[0]).Select(r => x.Select((v, c) => v * matrix.Values[(r * x.Length) + c]).Sum())];

    private static double[] Softmax(double[] x)
    {
        double[] e = [.. x.Select(v => Math.Exp(v - x.Max()))];
        return [.. e.Select(v => v / e.Sum())];
    }

    private static Dictionary<string, (double[], long[])> Load(string folder)
    {
        Dictionary<string, (double[], long[])> weights = [];
        foreach ((string name, JsonNode? file) in JsonNode.Parse(
            File.ReadAllText(Path.Combine(folder, "model.safetensors.index.json")))!["weight_map"]!.AsObject())
        {
            using SafetensorsFile tensors = new(Path.Combine(folder, file!.GetValue<string>()));
            weights[name] = ([.. tensors.LoadFloats(name).Select(v => (double)v)], [.. tensors.Entry(name).Shape]);
        }
        return weights;
    }

    /// <summary>The released folder: no card of ours, the heads in a shard beside the backbone's.</summary>
    private static void Write(string folder, ulong seed)
    {
        TinyCheckpoint.Write(folder,
            config =>
            {
                config["num_objectives"] = Objectives;
                config["gating_temperature"] = Temperature;
                config["gating_hidden_dim"] = Width;
                config["gating_n_hidden"] = HiddenLayers;
            },
            seed: seed);
        using DisposeScope scope = NewDisposeScope();
        ulong stream = 1000;
        List<(string, Tensor)> head =
        [
            ("regression_layer.weight", Random(Objectives, Dimension)),
            ("reward_transform_matrix", Random(Objectives, Objectives)),
            ("gating.logit_scale", tensor([1.7f]))
        ];
        for (int layer = 0; layer <= HiddenLayers; layer++)
        {
            long outputs = layer == HiddenLayers ? Objectives : Width;
            head.Add(($"gating.layers.{layer}.weight", Random(outputs, layer == 0 ? Dimension : Width)));
            head.Add(($"gating.layers.{layer}.bias", Random(outputs)));
        }
        SafetensorsFile.Write(Path.Combine(folder, "model-00003-of-00003.safetensors"), head);
        string indexPath = Path.Combine(folder, "model.safetensors.index.json");
        JsonNode index = JsonNode.Parse(File.ReadAllText(indexPath))!;
        foreach ((string name, _) in head) index["weight_map"]![name] = "model-00003-of-00003.safetensors";
        File.WriteAllText(indexPath, index.ToJsonString());

        Tensor Random(params long[] shape)
        {
            stream++;
            return tensor([.. Enumerable.Range(0, (int)shape.Aggregate(1L, (a, b) => a * b))
                .Select(i => (float)(CounterRandom.Uniform(seed, stream, (ulong)i) - 0.5))], shape);
        }
    }
}
