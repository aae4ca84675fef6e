using ArmoFlow.RewardModel.Backbone;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Tests;

/// <summary>Calls of a backbone with tensors, as references have them.</summary>
internal static class BackboneCalls
{
    /// <param name="model">The backbone.</param>
    /// <param name="tokens">[batch, length]; a row ends where it is last read.</param>
    /// <param name="readAt">[batch, n].</param>
    /// <returns>[batch, n, hiddenSize].</returns>
    public static Tensor Forward(this IBackbone model, Tensor tokens, Tensor readAt) =>
        model.Forward(Texts(tokens, readAt)).reshape(readAt.shape[0], readAt.shape[1], -1);

    /// <summary>The same for rows that follow a prefix.</summary>
    public static Tensor Forward(this IBackbone model, BackbonePrefix prefix, Tensor tokens, Tensor readAt) =>
        model.Forward([.. Texts(tokens, readAt).Select(text => text with { Prefix = prefix })])
            .reshape(readAt.shape[0], readAt.shape[1], -1);

    public static BackbonePrefix Read(this IBackbone model, Tensor tokens) => model.Read([.. Row(tokens, 0)]);

    private static BackboneText[] Texts(Tensor tokens, Tensor readAt) => [.. Enumerable.Range(0, (int)tokens.shape[0]).Select(row =>
    {
        int[] reads = Row(readAt, row);
        return new BackboneText(Row(tokens, row)[..(reads.Max() + 1)], reads);
    })];

    private static int[] Row(Tensor of, int row) => [.. of[row].to(ScalarType.Int64).data<long>().ToArray().Select(value => (int)value)];
}
