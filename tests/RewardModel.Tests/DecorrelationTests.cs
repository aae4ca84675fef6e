using ArmoFlow.RewardModel.Decorrelation;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Tensors;
using Shouldly;
using Xunit;

namespace ArmoFlow.RewardModel.Tests;

public class DecorrelationTests
{
    private static Matrix Rewards(int rows, Func<int, double> verbosity, params Func<int, double, double>[] others)
    {
        Matrix rewards = new(rows, others.Length + 1);
        for (int i = 0; i < rows; i++)
        {
            rewards[i, others.Length] = verbosity(i);
            for (int o = 0; o < others.Length; o++) rewards[i, o] = others[o](i, rewards[i, others.Length]);
        }
        return rewards;
    }

    private static double U(int i, ulong stream) => CounterRandom.Uniform(5, stream, (ulong)i);
    private static double Cauchy(int i, ulong stream) => Math.Tan(Math.PI * (U(i, stream) - 0.5));
    private static readonly string[] Three = ["a", "b", "verbosity"];

    [Theory]
    [InlineData(CorrelationMetric.Spearman)]
    [InlineData(CorrelationMetric.Pearson)]
    public void The_correlation_is_gone_whatever_its_sign(CorrelationMetric metric)
    {
        DecorrelationFit fit =
            VerbosityPenalty.Fit(Rewards(4000, i => U(i, 1), (i, v) => 0.7 * v + U(i, 2), (i, v) => -1.3 * v + U(i, 3)), Three, 2, metric);
        fit.Objectives[0].Before.ShouldBeGreaterThan(0.3);
        fit.Objectives[1].Before.ShouldBeLessThan(-0.3);
        fit.Objectives.ShouldAllBe(o => Math.Abs(o.After) <= VerbosityPenalty.Tolerance && o.Proof == null);
        fit.Penalties[1].ShouldBeLessThan(0);
    }

    [Fact]
    public void Heavy_tails_do_not_hinder_it()
    {
        DecorrelationFit fit = VerbosityPenalty.Fit(Rewards(3000, i => Cauchy(i, 1), (i, v) => v + Cauchy(i, 2),
            (i, v) => 100 * v + Cauchy(i, 3)), Three, 2, CorrelationMetric.Spearman);
        fit.Objectives.ShouldAllBe(o => Math.Abs(o.After) <= VerbosityPenalty.Tolerance);
    }

    [Fact]
    public void Tied_and_discrete_rewards_meet_the_tolerance_or_prove_that_none_can()
    {
        Matrix rewards = Rewards(500, i => Math.Floor(5 * U(i, 1)), (i, v) => v >= 3 ? 1 : Math.Floor(2 * U(i, 2)),
            (i, v) => Math.Floor(v / 2 + 3 * U(i, 3)));
        DecorrelationFit fit = VerbosityPenalty.Fit(rewards, Three, 2, CorrelationMetric.Spearman);
        for (int o = 0; o < 2; o++)
        {
            PenaltyFit found = fit.Objectives[o];
            if (Math.Abs(found.After) <= VerbosityPenalty.Tolerance) continue;
            ZeroCrossing proof = found.Proof.ShouldNotBeNull();
            BitConverter.SingleToInt32Bits((float)proof.UpperPenalty)
                .ShouldBe(BitConverter.SingleToInt32Bits((float)proof.LowerPenalty) + Math.Sign(proof.LowerPenalty),
                    "neighbouring float32 values");
            CorrelationAt(rewards, o, proof.LowerPenalty).ShouldBe(proof.CorrelationThere, 1e-12);
            CorrelationAt(rewards, o, proof.UpperPenalty).ShouldBe(proof.CorrelationHere, 1e-12);
            proof.CorrelationThere.ShouldBeGreaterThan(0);
            proof.CorrelationHere.ShouldBeLessThanOrEqualTo(0);
            Math.Abs(found.After).ShouldBeLessThanOrEqualTo(Math.Min(proof.CorrelationThere, -proof.CorrelationHere) + 1e-12);
        }
        fit.Objectives.Take(2).ShouldContain(o => o.Proof != null, "this set was chosen so that a proof is needed");
    }

    [Fact]
    public void A_constant_verbosity_or_reward_needs_no_penalty()
    {
        VerbosityPenalty.Fit(Rewards(50, _ => 1, (i, _) => U(i, 2), (i, _) => U(i, 3)), Three, 2, CorrelationMetric.Spearman).Penalties[..2]
            .ShouldBe([0f, 0f]);
        VerbosityPenalty.Fit(Rewards(50, i => U(i, 1), (_, _) => 2, (i, _) => U(i, 3)), Three, 2, CorrelationMetric.Pearson).Penalties[0]
            .ShouldBe(0);
    }

    [Fact]
    public void The_transform_reduces_each_objective_by_its_penalty_and_verbosity_to_nothing()
    {
        Matrix rewards = Rewards(100, i => U(i, 1), (i, v) => v + U(i, 2), (i, v) => v - U(i, 3));
        DecorrelationFit fit = VerbosityPenalty.Fit(rewards, Three, 2, CorrelationMetric.Spearman);
        Matrix debiased = Scoring.Rewards.Debias(rewards, fit.Transform).Values;
        for (int i = 0; i < 100; i++)
        {
            for (int o = 0; o < 2; o++) debiased[i, o].ShouldBe(rewards[i, o] - fit.Penalties[o] * rewards[i, 2], 1e-12);
            debiased[i, 2].ShouldBe(0);
        }
    }

    [Fact]
    public void Ranks_share_ties() => Correlation.Ranks([3, 1, 3, 2]).ShouldBe([3.5, 1, 3.5, 2]);

    [Fact]
    public void Spearman_falls_monotonically_with_the_penalty()
    {
        Matrix rewards = Rewards(200, i => U(i, 1), (i, v) => Cauchy(i, 2) + v, (i, v) => v);
        double last = double.PositiveInfinity;
        for (double penalty = -5; penalty <= 5; penalty += 0.1)
        {
            double now = CorrelationAt(rewards, 0, penalty);
            now.ShouldBeLessThanOrEqualTo(last + 1e-12);
            last = now;
        }
    }

    private static double CorrelationAt(Matrix rewards, int objective, double penalty)
    {
        int n = rewards.Rows;
        double[] v = [.. Enumerable.Range(0, n).Select(i => rewards[i, 2])];
        return Correlation.Spearman([.. Enumerable.Range(0, n).Select(i => rewards[i, objective] - penalty * v[i])], v);
    }
}
