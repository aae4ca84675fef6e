using ArmoFlow.Persistence.Artifacts;
using ArmoFlow.Persistence.Steps;
using ArmoFlow.RewardModel.Features;
using ArmoFlow.RewardModel.Ingestion;
using ArmoFlow.RewardModel.Tensors;

namespace ArmoFlow.Workers.Features;

/// <summary>The run's features artifact: for each conversation and prompt, the shard and row that hold its vector.</summary>
public sealed class FeatureTable : IDisposable
{
    public const string Response = "r", Prompt = "p";

    private readonly Dictionary<(string Kind, string Id), (int Shard, int Row)> _rows = [];
    private readonly List<SafetensorsFile> _shards = [];

    public int Dimension { get; private set; }

    public static async Task Write(string path, IEnumerable<FeatureRow> rows)
    {
        await using FileStream stream = new(path, FileMode.Create, FileAccess.ReadWrite);
        await using ParquetTable table = new(stream, [("kind", typeof(string)), ("id", typeof(string)), ("shard", typeof(string)), ("row", typeof(long))]);
        foreach (FeatureRow row in rows) await table.Add(row.Kind, row.Id, row.Shard, (long)row.Row);
    }

    public static async Task<FeatureTable> Open(string path, ArtifactStore artifacts)
    {
        FeatureTable table = new();
        Dictionary<string, int> shards = [];
        await foreach (Dictionary<string, object?> row in ParquetTable.Read(path))
        {
            string shard = (string)row["shard"]!;
            if (!shards.TryGetValue(shard, out int at))
            {
                shards[shard] = at = table._shards.Count;
                table._shards.Add(new SafetensorsFile(await artifacts.Open(shard, default)));
            }
            table._rows[((string)row["kind"]!, (string)row["id"]!)] = (at, (int)(long)row["row"]!);
        }
        table.Dimension = table._shards.Count > 0 ? (int)table._shards[0].Entry("embeddings").Shape[1] : 0;
        return table;
    }

    public bool Has(string conversationId) => _rows.ContainsKey((Response, conversationId));

    public IFeatureRows Responses(IReadOnlyList<string> ids) => new Rows(this, Response, "embeddings", ids);
    public IFeatureRows Prompts(IReadOnlyList<string> ids) => new Rows(this, Prompt, "prompt_embeddings", ids);

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
