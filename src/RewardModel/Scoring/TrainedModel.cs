using System.Text.Json.Serialization;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.RewardModel.Scoring;

/// <summary>One objective's part in a score.</summary>
/// <param name="Objective">Its name.</param>
/// <param name="Reward">r, in units of the rescaled rating.</param>
/// <param name="DebiasedReward">r', the same without the length bias.</param>
/// <param name="Coefficient">g of the prompt, from 0 to 1.</param>
/// <param name="Contribution">β g r': what it adds to the score.</param>
public sealed record ObjectivePart(string Objective, double Reward, double DebiasedReward, double Coefficient, double Contribution);

/// <summary>A score and the parts that add up to it (paper, figure 1).</summary>
/// <param name="Score">The sum of the contributions.</param>
/// <param name="Objectives">One part for each objective, in the model's order.</param>
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
    /// <summary>The names of the k objectives.</summary>
    public IReadOnlyList<string> Objectives { get; }

    /// <summary>W [k, d].</summary>
    public Matrix Weight { get; }

    /// <summary>M [k, k].</summary>
    public Matrix Transform { get; }

    /// <summary>The gate, from d features to k coefficients.</summary>
    public GatingNetwork Gate { get; }

    /// <summary>A model of parts that were trained together.</summary>
    /// <param name="objectives">The names of the k objectives.</param>
    /// <param name="weight">W [k, d].</param>
    /// <param name="transform">M [k, k].</param>
    /// <param name="gate">From d features to k coefficients.</param>
    /// <exception cref="InvalidInputException">The parts do not fit together.</exception>
    public TrainedModel(IReadOnlyList<string> objectives, Matrix weight, Matrix transform, GatingNetwork gate)
    {
        int k = objectives.Count;
        bool fit = (weight.Rows, weight.Columns) == (k, gate.Inputs)
            && (transform.Rows, transform.Columns) == (k, k)
            && gate.Objectives == k;
        if (!fit)
        {
            throw new InvalidInputException("model",
                $"{k} objectives, weights [{weight.Rows}, {weight.Columns}], a transform [{transform.Rows}, {transform.Columns}], "
                    + $"a gate of {gate.Inputs} inputs and {gate.Objectives} outputs",
                "[k, d], [k, k] and a gate from d to k", "These parts belong to different models.");
        }
        Objectives = objectives;
        Weight = weight;
        Transform = transform;
        Gate = gate;
    }

    /// <summary>The mean of one response's debiased rewards: the baseline without the gate.</summary>
    /// <param name="embedding">f(x⊕y) [d].</param>
    public Scored Mean(float[] embedding)
    {
        double[] debiased = new double[Objectives.Count], magnitudes = new double[Objectives.Count];
        Rewards.Debias(Reward(embedding), Transform, debiased, magnitudes);
        return Scored.Mean(debiased, magnitudes);
    }

    private double[] Reward(float[] embedding)
    {
        double[] rewards = new double[Objectives.Count];
        Weight.Times(Matrix.Widen(embedding), rewards);
        return rewards;
    }

    /// <summary>Scores one response and explains the score.</summary>
    /// <param name="embedding">f(x⊕y) [d].</param>
    /// <param name="prompt">f(x) [d].</param>
    /// <param name="steering">Coefficients to fix or scale, if any.</param>
    public Explanation Explain(float[] embedding, float[] prompt, Steering? steering = null)
    {
        int k = Objectives.Count;
        double[] rewards = Reward(embedding), debiased = new double[k], magnitudes = new double[k];
        Rewards.Debias(rewards, Transform, debiased, magnitudes);
        double[] coefficients = Gate.Coefficients(prompt);
        steering?.Apply(coefficients);
        Scored score = Scored.Gated(Gate.Beta, coefficients, debiased, magnitudes);
        ObjectivePart[] parts = new ObjectivePart[k];
        for (int o = 0; o < k; o++)
        {
            double contribution = Scored.Contribution(Gate.Beta, coefficients[o], debiased[o]);
            parts[o] = new ObjectivePart(Objectives[o], rewards[o], debiased[o], coefficients[o], contribution);
        }
        return new Explanation(score.Value, parts) { Magnitude = score.Magnitude };
    }
}
