using ArmoFlow.RewardModel.Backbone;
using ArmoFlow.RewardModel.Regression;
using Shouldly;
using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>The garbage collector has no say in what is computed, whenever it runs.</summary>
public class CollectorTests
{
    [Fact]
    public async Task Training_gives_the_same_bytes_while_memory_is_collected()
    {
        byte[] alone = GatingTests.Trained(GatingTests.Small);
        await using BusyCollector collector = new();
        for (int i = 0; i < 5; i++) GatingTests.Trained(GatingTests.Small).ShouldBe(alone);
    }

    [Fact]
    public async Task A_fit_gives_the_same_weights_while_memory_is_collected()
    {
        RegressionTests.Problem problem = RegressionTests.Problem.Random(rows: 20, d: 32, k: 1, seed: 3, missing: 0);
        double[] alphas = [0, 1e-9, 0.1, 10];
        RegressionFit alone = await problem.Fit(alphas);
        await using BusyCollector collector = new();
        for (int i = 0; i < 30; i++)
        {
            RegressionFit fit = await problem.Fit(alphas);
            fit.Weight.Row(0).ToArray().ShouldBe(alone.Weight.Row(0).ToArray());
        }
    }

    [Fact]
    public async Task A_backbone_gives_the_same_hidden_states_while_memory_is_collected()
    {
        using TemporaryFolder folder = new();
        TinyCheckpoint.Write(folder.Path);
        using IBackbone model = Backbones.Load(folder.Path, ScalarType.Float32, CPU);
        float[] alone = Hidden(model);
        await using BusyCollector collector = new();
        for (int i = 0; i < 50; i++) Hidden(model).ShouldBe(alone);
    }

    private static float[] Hidden(IBackbone model)
    {
        using DisposeScope scope = NewDisposeScope(); // the test's own tensors must live, too
        Tensor tokens = tensor([.. Enumerable.Range(0, 80).Select(t => (long)t)], [1, 80]), at = tensor([3L, 40L, 79L], [1, 3]);
        return model.Forward(tokens, at).data<float>().ToArray();
    }
}

/// <summary>
/// Collects garbage all the time, and takes the memory of numbers that were finalized: what libtorch still reads must not be among it.
/// </summary>
internal sealed class BusyCollector : IAsyncDisposable
{
    private readonly CancellationTokenSource _over = new();
    private readonly Task _collecting;

    public BusyCollector() => _collecting = Task.Run(Collect);

    private void Collect()
    {
        while (!_over.IsCancellationRequested)
        {
            GC.Collect(0, GCCollectionMode.Forced);
            GC.WaitForPendingFinalizers();
            for (int i = 0; i < 100; i++) _ = i.ToScalar();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        await _collecting;
        _over.Dispose();
    }
}
