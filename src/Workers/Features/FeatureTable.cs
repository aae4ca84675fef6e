using ArmoFlow.Contracts;
using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Workers.Features;

/// <summary>The run's features artifact: for each conversation and prompt, the shard and row that hold its vector.</summary>
public sealed class FeatureTable : IDisposable
{
    public const string Response = "r", Prompt = "p";

    /// <summary>Names of a shard's tensors.</summary>
    public const string Embeddings = "embeddings", PromptEmbeddings = "prompt_embeddings";

    private readonly Dictionary<(string Kind, string Id), (int Shard, int Row)> _rows = [];
    private readonly List<SafetensorsFile> _shards = [];

    public int Dimension { get; private set; }

    /// <summary>Writes the table, and reads its footer back.</summary>
    public static async Task Write(string path, IReadOnlyCollection<FeatureRow> rows)
    {
        await WriteRows(path, rows);
        await RequireRows(path, rows.Count);
    }

    private static async Task WriteRows(string path, IReadOnlyCollection<FeatureRow> rows)
    {
        await using FileStream stream = new(path, FileMode.Create, FileAccess.ReadWrite);
        await using ParquetTable table =
            new(stream, [("kind", typeof(string)), ("id", typeof(string)), ("shard", typeof(string)), ("row", typeof(long))]);
        foreach (FeatureRow row in rows) await table.Add(row.Kind, row.Id, row.Shard, (long)row.Row);
    }

    private static async Task RequireRows(string path, int expected)
    {
        long found = await ParquetTable.RowsOf(path);
        if (found != expected) throw new IOException($"{path} holds {found} rows; {expected} were written.");
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
            _rows[((string)row["kind"]!, (string)row["id"]!)] = (at, (int)(long)row["row"]!);
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

    public bool Has(string conversationId) => _rows.ContainsKey((Response, conversationId));

    /// <summary>Which row holds f(x) of a conversation: its own where it has one, else that of its prompt.</summary>
    public string PromptOf(string conversationId, string promptId) =>
        _rows.ContainsKey((Prompt, conversationId)) ? conversationId : promptId;

    public IFeatureRows Responses(IReadOnlyList<string> ids) => new Rows(this, Response, Embeddings, ids);
    public IFeatureRows Prompts(IReadOnlyList<string> ids) => new Rows(this, Prompt, PromptEmbeddings, ids);

    public void Dispose()
    {
        foreach (SafetensorsFile shard in _shards) shard.Dispose();
    }

    private sealed class Rows : IFeatureRows
    {
        private readonly (SafetensorsFile File, TensorEntry Entry, int Row)[] _at;

        public Rows(FeatureTable table, string kind, string tensor, IReadOnlyList<string> ids)
        {
            TensorEntry[] entries = [.. table._shards.Select(s => s.Entry(tensor))];
            _at = [.. ids.Select(id => table._rows[(kind, id)]).Select(x => (table._shards[x.Shard], entries[x.Shard], x.Row))];
            Dimension = table.Dimension;
        }

        public int Count => _at.Length;
        public int Dimension { get; }
        public void Copy(int row, Span<float> into) => _at[row].File.ReadRow(_at[row].Entry, _at[row].Row, into);
    }
}
