using System.Globalization;
using ArmoFlow.RewardModel.Text;

namespace ArmoFlow.RewardModel.Ingestion;

/// <summary>A rating row of the canonical data set: labels [k] in the objectives' order, NaN where absent.</summary>
public sealed record RatingRow(string ConversationId, string Source, double[] Labels);

/// <summary>A pair of the canonical data set; the two prompts are nearly always one.</summary>
public sealed record PreferenceRow(string ChosenId, string RejectedId, string ChosenPromptId, string RejectedPromptId, string Source);

/// <summary>A benchmark's pair of the canonical data set.</summary>
/// <param name="Id">The pair's id in the benchmark.</param>
/// <param name="Subset">The subset that it belongs to.</param>
/// <param name="ChosenId">The conversation with the better response.</param>
/// <param name="RejectedId">The conversation with the other.</param>
public sealed record BenchmarkRow(string Id, string Subset, string ChosenId, string RejectedId);

/// <summary>Writes the canonical data set: every conversation once, and tables that refer to it.</summary>
public sealed class CanonicalTables : IAsyncDisposable
{
    /// <summary>The table of conversations, each once.</summary>
    public const string Conversations = "conversations.parquet";

    /// <summary>The table of rated responses.</summary>
    public const string Ratings = "ratings.parquet";

    /// <summary>The table of preference pairs.</summary>
    public const string Preferences = "preferences.parquet";

    /// <summary>The table of the benchmark's pairs.</summary>
    public const string Benchmark = "benchmark.parquet";

    private const string RatingPrefix = "rating:";
    private readonly List<FileStream> _streams = [];
    private readonly Dictionary<string, long> _rows = new() { [Conversations] = 0, [Ratings] = 0, [Preferences] = 0, [Benchmark] = 0 };
    private readonly HashSet<UInt128> _known = []; // half of each id: 16 bytes in memory, and still no collision to be feared
    private readonly IReadOnlyList<string> _objectives;
    private readonly ParquetTable _conversations, _ratings, _preferences, _benchmark;

    /// <summary>How many conversations were added, each counted once.</summary>
    public int DistinctConversations => _known.Count;

    /// <summary>How many rows were added, by table.</summary>
    public IReadOnlyDictionary<string, long> Rows => _rows;

    /// <summary>Begins the four tables.</summary>
    /// <param name="folder">Where the four files go.</param>
    /// <param name="objectives">Columns of the ratings.</param>
    public CanonicalTables(string folder, IReadOnlyList<string> objectives)
    {
        _objectives = objectives;
        Directory.CreateDirectory(folder);
        Type text = typeof(string);
        _conversations = Open(Conversations, [("id", text), ("prompt_id", text), ("messages", text)]);
        _ratings =
            Open(Ratings, [("conversation_id", text), ("source", text), .. objectives.Select(o => (RatingPrefix + o, typeof(double)))]);
        _preferences = Open(Preferences,
            [("chosen_id", text), ("rejected_id", text), ("chosen_prompt_id", text), ("rejected_prompt_id", text), ("source", text)]);
        _benchmark = Open(Benchmark, [("id", text), ("subset", text), ("chosen_id", text), ("rejected_id", text)]);

        ParquetTable Open(string name, (string, Type)[] columns)
        {
            FileStream stream = new(Path.Combine(folder, name), FileMode.Create, FileAccess.ReadWrite);
            _streams.Add(stream);
            return new ParquetTable(stream, columns);
        }
    }

    /// <summary>Adds a rated response.</summary>
    /// <param name="rated">The response and its ratings.</param>
    /// <param name="source">The name of its source.</param>
    public async Task Add(RatedResponse rated, string source)
    {
        await Add(rated.Conversation);
        _rows[Ratings]++;
        await _ratings.Add([
            rated.Conversation.Id,
            source,
            .. _objectives.Select(o => rated.Ratings.TryGetValue(o, out double value) ? (object?)value : null)
        ]);
    }

    /// <summary>Adds a preference pair.</summary>
    /// <param name="pair">The pair.</param>
    /// <param name="source">The name of its source.</param>
    public async Task Add(PreferencePair pair, string source)
    {
        await Add(pair.Chosen);
        await Add(pair.Rejected);
        _rows[Preferences]++;
        await _preferences.Add(pair.Chosen.Id, pair.Rejected.Id, pair.Chosen.PromptId, pair.Rejected.PromptId, source);
    }

    /// <summary>Adds a benchmark's pair.</summary>
    /// <param name="pair">The pair.</param>
    public async Task Add(BenchmarkPair pair)
    {
        await Add(pair.Chosen);
        await Add(pair.Rejected);
        _rows[Benchmark]++;
        await _benchmark.Add(pair.Id, pair.Subset, pair.Chosen.Id, pair.Rejected.Id);
    }

    private async Task Add(Conversation conversation)
    {
        if (!_known.Add(UInt128.Parse(conversation.Id.AsSpan(0, 32), NumberStyles.HexNumber, CultureInfo.InvariantCulture))) return;
        _rows[Conversations]++;
        await _conversations.Add(conversation.Id, conversation.PromptId, conversation.ToJson());
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (ParquetTable table in new[] { _conversations, _ratings, _preferences, _benchmark }) await table.DisposeAsync();
        foreach (FileStream stream in _streams) await stream.DisposeAsync();
    }

    /// <summary>Reads the closed tables' footers back.</summary>
    /// <param name="folder">Where the tables are.</param>
    /// <param name="rows">How many rows each was given.</param>
    /// <exception cref="IOException">A table does not hold them: something else wrote to the file, or the disk lost some of it.</exception>
    public static async Task RequireRows(string folder, IReadOnlyDictionary<string, long> rows)
    {
        foreach ((string table, long expected) in rows)
        {
            long found = await ParquetTable.RowsOf(Path.Combine(folder, table));
            if (found != expected) throw new IOException($"{table} in {folder} holds {found} rows; {expected} were written.");
        }
    }

    /// <summary>The conversations of a table, one after the other.</summary>
    /// <param name="path">The table.</param>
    public static async IAsyncEnumerable<Conversation> ReadConversations(string path)
    {
        await foreach (Dictionary<string, object?> row in ParquetTable.Read(path))
            yield return Conversation.FromJson((string)row["messages"]!);
    }

    /// <summary>The rows of a table of ratings.</summary>
    /// <param name="path">The table.</param>
    /// <param name="objectives">The k objectives, in the order of the labels.</param>
    public static async Task<List<RatingRow>> ReadRatings(string path, IReadOnlyList<string> objectives)
    {
        List<RatingRow> rows = [];
        await foreach (Dictionary<string, object?> row in ParquetTable.Read(path))
        {
            rows.Add(new RatingRow((string)row["conversation_id"]!, (string)row["source"]!,
                [.. objectives.Select(o => row.GetValueOrDefault(RatingPrefix + o) is double v ? v : double.NaN)]));
        }
        return rows;
    }

    /// <summary>The rows of a table of preferences.</summary>
    /// <param name="path">The table.</param>
    public static async Task<List<PreferenceRow>> ReadPreferences(string path)
    {
        List<PreferenceRow> rows = [];
        await foreach (Dictionary<string, object?> row in ParquetTable.Read(path))
        {
            rows.Add(new PreferenceRow((string)row["chosen_id"]!, (string)row["rejected_id"]!, (string)row["chosen_prompt_id"]!,
                (string)row["rejected_prompt_id"]!, (string)row["source"]!));
        }
        return rows;
    }

    /// <summary>The rows of a benchmark table.</summary>
    /// <param name="path">The table.</param>
    public static async Task<List<BenchmarkRow>> ReadBenchmark(string path)
    {
        List<BenchmarkRow> rows = [];
        await foreach (Dictionary<string, object?> row in ParquetTable.Read(path))
            rows.Add(new BenchmarkRow((string)row["id"]!, (string)row["subset"]!, (string)row["chosen_id"]!, (string)row["rejected_id"]!));
        return rows;
    }
}
