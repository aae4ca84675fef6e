using System.Text.Json.Serialization;
using ArmoFlow.RewardModel.Gating;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>One objective's part in a score: contribution = β · coefficient · debiased reward.</summary>
public sealed record ObjectivePart(string Objective, double Reward, double DebiasedReward, double Coefficient, double Contribution);

/// <summary>A score and the parts that add up to it (paper, figure 1).</summary>
public sealed record Explanation(double Score, IReadOnlyList<ObjectivePart> Objectives)
{
    /// <summary>See <see cref="Scored.Magnitude"/>.</summary>
    public double Magnitude { get; init; }

    /// <summary>The score, to be compared with another.</summary>
    [JsonIgnore] public Scored Scored => new(Score, Magnitude);
}

/// <summary>
/// W, M and the gate: features to a score, Σ softmax(gate/T) · β · (r M), as the released ArmoRM computes it. In float64 and
/// row by row, so that no score depends on its batch.
/// </summary>
public sealed class TrainedModel
{
    private readonly double[][] _weight;

    public IReadOnlyList<string> Objectives { get; }

    /// <summary>W [k, d], row-major.</summary>
    public float[] Weight { get; }

    /// <summary>M [k, k], row-major.</summary>
    public float[] Transform { get; }
    public GatingNetwork Gate { get; }

    /// <exception cref="InvalidInputException">The parts do not fit together.</exception>
    public TrainedModel(IReadOnlyList<string> objectives, float[] weight, float[] transform, GatingNetwork gate)
    {
        int k = objectives.Count;
        if (weight.Length != (long)k * gate.Inputs || transform.Length != k * k || gate.Objectives != k)
        {
            throw new InvalidInputException("model",
                $"{k} objectives, weights of {weight.Length} values, a transform of {transform.Length}, a gate of {gate.Inputs} inputs "
                    + $"and {gate.Objectives} outputs",
                    "[k, d], [k, k] and a gate from d to k", "These parts belong to different models.");
        }
        Objectives = objectives;
        Weight = weight;
        Transform = transform;
        Gate = gate;
        _weight = [.. weight.Chunk(gate.Inputs).Select(r => r.Select(v => (double)v).ToArray())];
    }

    /// <summary>Scores one response and explains the score.</summary>
    /// <param name="embedding">f(x⊕y) [d].</param>
    /// <param name="prompt">f(x) [d].</param>
    /// <param name="steering">Coefficients to fix or scale, if any.</param>
    public Explanation Explain(float[] embedding, float[] prompt, Steering? steering = null)
    {
        double[] wide = [.. embedding.Select(v => (double)v)];
        double[] rewards = [.. _weight.Select(w => DenseLayer.Dot(w, wide))];
        double[] coefficients = Gate.Coefficients(prompt);
        steering?.Apply(coefficients);
        int k = Objectives.Count;
        ObjectivePart[] parts = [.. Enumerable.Range(0, k).Select(o =>
        {
            double debiased = 0;
            for (int j = 0; j < k; j++) debiased += rewards[j] * Transform[j * k + o];
            return new ObjectivePart(Objectives[o], rewards[o], debiased, coefficients[o], Gate.Beta * coefficients[o] * debiased);
        })];
        double magnitude = parts.Sum(p => Math.Abs(Gate.Beta * p.Coefficient) * Rewards.Magnitude(p.Reward, p.DebiasedReward));
        return new Explanation(parts.Sum(p => p.Contribution), parts) { Magnitude = magnitude };
    }
}
