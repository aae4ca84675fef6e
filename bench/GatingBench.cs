using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Gating;
using ArmoFlow.RewardModel.Scoring;
using ArmoFlow.RewardModel.Tensors;
using static TorchSharp.torch;

namespace ArmoFlow.Bench;

/// <summary>
/// Training steps of the paper's gate with a batch's distinct prompts passed once, against passing every row of the batch.
/// Limit: the products of the distinct prompts, forward and twice backward, at this machine's rate.
/// </summary>
internal static class GatingBench
{
    private const int Steps = 20, Objectives = 4;

    public static void Run(int prompts, int dimension, int batch)
    {
        double shared = Measure.Seconds(() => Train(Pairs(prompts, dimension, distinct: false, 4 * prompts), batch), 1) / Steps;
        double apart = Measure.Seconds(() => Train(Pairs(prompts, dimension, distinct: true, 20 * batch), batch), 1) / Steps;
        double parameters = dimension * 1024.0 + 2 * 1024 * 1024 + 1024 * Objectives,
            drawn = prompts * (1 - Math.Pow(1 - 1.0 / prompts, batch));
        double limit = 6 * parameters * drawn / Measure.MatrixProductFlops(ScalarType.Float32);
        Measure.Print($"gating: batch {batch} over {prompts} prompts, d = {dimension}, 3 × 1024 hidden", shared * 1000, apart * 1000,
            limit * 1000, "ms/step");
    }

    private static void Train(GatingPairs pairs, int batch)
    {
        using GatingTrainer trainer =
            new(pairs, new GatingOptions { Steps = Steps, BatchSize = batch }, [.. Enumerable.Range(0, pairs.Count)]);
        trainer.Advance(Steps);
    }

    private static GatingPairs Pairs(int prompts, int dimension, bool distinct, int pairs)
    {
        int count = distinct ? pairs : prompts;
        DebiasedRewards Rewards(ulong stream)
        {
            Matrix rewards = new(pairs, Objectives);
            for (int i = 0; i < pairs * Objectives; i++)
                rewards[i / Objectives, i % Objectives] = CounterRandom.Uniform(2, stream, (ulong)i);
            return new DebiasedRewards(rewards, rewards); // all are positive, so each is its own magnitude
        }
        return new GatingPairs
        {
            Prompts = new ArrayRows([.. Enumerable.Range(0, count * dimension).Select(i => (float)CounterRandom.Uniform(2, 1, (ulong)i))],
                dimension),
            PromptIds = [.. Enumerable.Range(0, count).Select(i => $"prompt {i}")],
            PromptOf = [.. Enumerable.Range(0, pairs).Select(i => (i % count, i % count))],
            Chosen = Rewards(2),
            Rejected = Rewards(3),
            Sources = [.. Enumerable.Repeat("pairs", pairs)],
        };
    }
}
