using ArmoFlow.RewardModel.Tensors;
using static TorchSharp.torch;

namespace ArmoFlow.RewardModel.Backbone;

/// <summary>A text, or a part of one that follows another part.</summary>
/// <param name="Tokens">Its own tokens; at least one.</param>
/// <param name="ReadAt">Positions among them whose hidden states are wanted.</param>
public sealed record BackboneText(int[] Tokens, int[] ReadAt)
{
    /// <summary>The text of the same batch that it follows, by its index, which is smaller; null for none.</summary>
    public int? After { get; init; }

    /// <summary>What it follows, read before; null for nothing.</summary>
    public BackbonePrefix? Prefix { get; init; }
}

/// <summary>
/// The texts of a batch, one after the other in the rows of one matrix: none is padded, and each row is computed as it would be alone.
/// </summary>
internal sealed class PackedTexts
{
    // Products of fewer rows are computed by other means, with other last digits; then a text's would depend on its neighbours.
    private const int FewestRows = 16;

    private readonly DecoderConfig _config;
    private readonly ScalarType _compute;
    private readonly Device _device;
    private readonly Dictionary<RotaryEmbedding, (Tensor Cos, Tensor Sin)> _turns = [];
    private readonly Tensor _positions; // [rows] float64

    public IReadOnlyList<BackboneText> Texts { get; }

    /// <summary>The row where each text begins.</summary>
    public long[] Begins { get; }

    /// <summary>How many tokens come before each text, in those that it follows.</summary>
    public long[] Before { get; }

    /// <summary>[rows] token ids; rows beyond the texts are there for <see cref="FewestRows"/>.</summary>
    public Tensor Tokens { get; }

    /// <summary>For each position read, its text and place there.</summary>
    public IReadOnlyList<(int Text, int At)> Reads { get; }

    /// <summary>[reads or more] the rows that are read; the first as often as it takes.</summary>
    public Tensor ReadRows { get; }

    public PackedTexts(IReadOnlyList<BackboneText> texts, DecoderConfig config, ScalarType compute, Device device)
    {
        Texts = texts;
        _config = config;
        _compute = compute;
        _device = device;
        Begins = new long[texts.Count];
        Before = new long[texts.Count];
        List<long> tokens = [], positions = [];
        for (int i = 0; i < texts.Count; i++)
        {
            BackboneText text = texts[i];
            if (config.DependsOnLength && (text.After ?? text.Prefix as object) is not null)
                throw new InvalidOperationException("a text after another, of a model whose positions depend on the length of the whole");
            Begins[i] = tokens.Count;
            Before[i] = text.After is { } parent ? Before[parent] + texts[parent].Tokens.Length : text.Prefix?.Length ?? 0;
            tokens.AddRange(text.Tokens.Select(token => (long)token));
            for (int at = 0; at < text.Tokens.Length; at++) positions.Add(Before[i] + at);
        }
        while (tokens.Count < FewestRows)
        {
            tokens.Add(0);
            positions.Add(0);
        }
        Tokens = tensor([.. tokens]).to(device);
        _positions = tensor([.. positions.Select(p => (double)p)]);
        Reads = [.. texts.SelectMany((text, i) => text.ReadAt.Select(at => (i, at)))];
        long[] rows = [.. Reads.Select(read => Begins[read.Text] + read.At)];
        ReadRows = tensor([.. rows, .. Enumerable.Repeat(rows[0], Math.Max(0, FewestRows - rows.Length))]).to(device);
    }

    /// <summary>How positions turn a layer's keys and, where all rows have one, queries: [rows, 1, size] each.</summary>
    public (Tensor Cos, Tensor Sin) TurnsOf(int layer)
    {
        RotaryEmbedding rotary = _config.RotaryOf(layer);
        if (_turns.TryGetValue(rotary, out (Tensor, Tensor) known)) return known;
        Tensor angles = _positions.unsqueeze(1) * FrequenciesOf(rotary); // [rows, size / 2]
        angles = cat([angles, angles], -1).unsqueeze(1);
        return _turns[rotary] = (Scaled(angles.cos()), Scaled(angles.sin()));

        Tensor Scaled(Tensor x) => (rotary.AttentionFactor == 1 ? x : x.Times(rotary.AttentionFactor)).to(_compute, _device);
    }

    /// <summary>[1, size / 2], or [rows, size / 2] where they depend on each text's length.</summary>
    private Tensor FrequenciesOf(RotaryEmbedding rotary)
    {
        if (!rotary.DependsOnLength) return tensor(rotary.Frequencies(1), ScalarType.Float64).unsqueeze(0);
        List<Tensor> rows = [.. Texts.Select(text =>
            tensor(rotary.Frequencies(text.Tokens.Length), ScalarType.Float64).unsqueeze(0).expand(text.Tokens.Length, -1))];
        long filled = Texts.Sum(text => (long)text.Tokens.Length), missing = _positions.shape[0] - filled;
        if (missing > 0) rows.Add(rows[0].narrow(0, 0, 1).expand(missing, -1));
        return cat(rows, 0);
    }

    /// <summary>True where each query of a text sees itself and all before it, and nothing comes before the text.</summary>
    public bool IsPlain(int text, int layer) => Before[text] == 0 && WindowOf(layer, Texts[text].Tokens.Length) is null;

    /// <summary>
    /// [queries, keys] of some queries of a text, true where a query sees a key; keys count from the first that one sees.
    /// </summary>
    /// <param name="layer">The layer, from 0.</param>
    /// <param name="firstQuery">The first, counted with what comes before the text.</param>
    /// <param name="queries">How many.</param>
    public Tensor MaskOf(int layer, long firstQuery, long queries)
    {
        long end = firstQuery + queries;
        Tensor query = TensorNumbers.Range(firstQuery, end, ScalarType.Int64, _device).unsqueeze(1);
        Tensor key = TensorNumbers.Range(FirstSeen(layer, firstQuery + 1), end, ScalarType.Int64, _device).unsqueeze(0);
        Tensor seen = key.le(query);
        return WindowOf(layer, end) is { } window ? seen.logical_and(key.gt(query.Plus(-(long)window))) : seen;
    }

    /// <summary>The first key that the last of so many tokens sees.</summary>
    public long FirstSeen(int layer, long tokens) => WindowOf(layer, tokens) is { } window ? tokens - window : 0;

    /// <summary>A layer's window; null where it sees all of so many tokens.</summary>
    private int? WindowOf(int layer, long tokens) => _config.WindowOf(layer) is { } window && window < tokens ? window : null;
}
