using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Features;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Workers.Features;

/// <summary>A row of the features artifact.</summary>
/// <param name="Kind">Of which feature.</param>
/// <param name="Id">The conversation's or prompt's id, as in the run's other tables.</param>
/// <param name="Place">Where it lies.</param>
public readonly record struct FeatureEntry(FeatureKind Kind, string Id, FeaturePlace Place);

/// <summary>The run's features artifact: for each conversation and prompt, the shard and row that hold its vector.</summary>
public sealed class FeatureTable : IDisposable
{
    private const string Response = "r", Prompt = "p";

    /// <summary>Names of a shard's tensors.</summary>
    public const string Embeddings = "embeddings", PromptEmbeddings = "prompt_embeddings";

    private readonly Dictionary<FeatureKey, (int Shard, int Row)> _responses = [], _prompts = [];
    private readonly List<SafetensorsFile> _shards = [];

    public int Dimension { get; private set; }

    /// <summary>Writes the table, and reads its footer back.</summary>
    public static async Task Write(string path, IAsyncEnumerable<FeatureEntry> rows)
    {
        long written = await WriteRows(path, rows), found = await ParquetTable.RowsOf(path);
        if (found != written) throw new IOException($"{path} holds {found} rows; {written} were written.");
    }

    private static async Task<long> WriteRows(string path, IAsyncEnumerable<FeatureEntry> rows)
    {
        long written = 0;
        await using FileStream stream = new(path, FileMode.Create, FileAccess.ReadWrite);
        await using ParquetTable table =
            new(stream, [("kind", typeof(string)), ("id", typeof(string)), ("shard", typeof(string)), ("row", typeof(long))]);
        await foreach (FeatureEntry row in rows)
        {
            await table.Add(row.Kind == FeatureKind.Response ? Response : Prompt, row.Id, row.Place.Shard, (long)row.Place.Row);
            written++;
        }
        return written;
    }

    /// <summary>Opens the features of a run, with every shard that they lie in.</summary>
    /// <exception cref="ArtifactLostException">The table or a shard is missing, altered or of no use.</exception>
    public static async Task<FeatureTable> Open(StepRun run)
    {
        FeatureTable table = new();
        try
        {
            await table.Load(run);
            return table;
        }
        catch
        {
            table.Dispose();
            throw;
        }
    }

    private async Task Load(StepRun run)
    {
        Dictionary<string, int> shards = [];
        await foreach (Dictionary<string, object?> row in run.ReadEach(ArtifactNames.Features, ParquetTable.Read))
        {
            string shard = (string)row["shard"]!;
            if (!shards.TryGetValue(shard, out int at))
            {
                shards[shard] = at = _shards.Count;
                _shards.Add(await OpenShard(run, shard));
            }
            Dictionary<FeatureKey, (int, int)> places = (string)row["kind"]! == Response ? _responses : _prompts;
            places[FeatureKey.Of((string)row["id"]!)] = (at, (int)(long)row["row"]!);
        }
        Dimension = _shards.Count > 0 ? (int)_shards[0].Entry(Embeddings).Shape[1] : 0;
    }

    private static async Task<SafetensorsFile> OpenShard(StepRun run, string sha256)
    {
        string path = await run.Services.Artifacts.Open(sha256, run.Cancel);
        try
        {
            SafetensorsFile shard = new(path);
            _ = shard.Entry(Embeddings);
            return shard;
        }
        catch (InvalidInputException e) { throw new ArtifactLostException(sha256, $"the shard of features cannot be used: {e.Message}"); }
    }

    public bool Has(string conversationId) => _responses.ContainsKey(FeatureKey.Of(conversationId));

    /// <summary>Which row holds f(x) of a conversation: its own where it has one, else that of its prompt.</summary>
    public string PromptOf(string conversationId, string promptId) =>
        _prompts.ContainsKey(FeatureKey.Of(conversationId)) ? conversationId : promptId;

    public IFeatureRows Responses(IReadOnlyList<string> ids) => new Rows(this, _responses, Embeddings, ids);
    public IFeatureRows Prompts(IReadOnlyList<string> ids) => new Rows(this, _prompts, PromptEmbeddings, ids);

    public void Dispose()
    {
        foreach (SafetensorsFile shard in _shards) shard.Dispose();
    }

    private sealed class Rows : IFeatureRows
    {
        private readonly (SafetensorsFile File, TensorEntry Entry, int Row)[] _at;

        public Rows(
            FeatureTable table, Dictionary<FeatureKey, (int Shard, int Row)> places, string tensor, IReadOnlyList<string> ids)
        {
            TensorEntry[] entries = [.. table._shards.Select(s => s.Entry(tensor))];
            _at = [.. ids.Select(id => places[FeatureKey.Of(id)]).Select(x => (table._shards[x.Shard], entries[x.Shard], x.Row))];
            Dimension = table.Dimension;
        }

        public int Count => _at.Length;
        public int Dimension { get; }
        public void Copy(int row, Span<float> into) => _at[row].File.ReadRow(_at[row].Entry, _at[row].Row, into);
    }
}
